// Opening an index file: the header of any bytes, then the whole way over a file of them, every value read.
#include "search/npy.h"

#include <algorithm>
#include <string>

#include "fuzz.h"

using namespace torchclip;

namespace {

float sum_of(const core::NpyRows& rows) {
  float sum = 0;
  for (std::int64_t i = 0; i < rows.rows * rows.dim; ++i) sum += rows.data[i];
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::text_of(data, size);
  const bool is_read = fuzz::accepts([&] { core::read_npy_shape(bytes.substr(0, core::kMostNpyHeader), size, "x"); });
  static const fuzz::MemoryFile file;
  file.write(bytes);
  const bool is_mapped = fuzz::accepts([&] {
    const auto rows = core::map_npy(file.path());
    volatile float sum = sum_of(rows);
    fuzz::expect(rows.file->intact(), "the file is as it was");
    const auto* end = reinterpret_cast<const char*>(rows.data + rows.rows * rows.dim);
    const auto mapped = static_cast<std::size_t>(end - rows.file->data());
    file.shorten(mapped - 1 - size % mapped);
    sum = sum_of(rows);
    (void)sum;
    fuzz::expect(!rows.file->intact(), "what is missing is noticed");
  });
  fuzz::expect(is_read == is_mapped, "what is read is mapped");
  return 0;
}
