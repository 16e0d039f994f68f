#include "model/artifact/tensor_source.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "base/error.h"

namespace torchclip::core {
namespace {

constexpr std::uint64_t kBlockBytes = 1 << 20;  // Stays in the L2 cache between reading, checksum and writing.
constexpr std::size_t kColumnsAtOnce = 16;      // Of a matrix that is transposed: a cache line of float32.

[[noreturn]] void corrupt(const std::string& what) { throw Error(TORCHCLIP_E_MODEL_CORRUPT, what); }

// The size of the values of a shape; the largest number where that does not fit.
std::uint64_t bytes_of(const std::vector<std::int64_t>& shape, std::uint64_t element) {
  constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t bytes = element;
  for (const auto axis : shape) {
    const auto size = static_cast<std::uint64_t>(axis);
    if (size == 0) return 0;
    bytes = bytes > kMost / size ? kMost : bytes * size;
  }
  return bytes;
}

// Columns [first, first + count) of a matrix, as rows.
void gather_columns(const std::vector<char>& matrix, std::size_t rows, std::size_t columns, std::size_t element,
                    std::size_t first, std::size_t count, std::vector<char>& out) {
  for (std::size_t row = 0; row < rows; ++row) {
    const char* from = matrix.data() + (row * columns + first) * element;
    for (std::size_t k = 0; k < count; ++k) {
      std::memcpy(out.data() + (k * rows + row) * element, from + k * element, element);
    }
  }
}

}  // namespace

std::shared_ptr<const File> WeightFiles::open(const std::string& path) {
  auto& file = files_[path];
  if (!file) file = std::make_shared<const File>(path);
  return file;
}

TensorSource::TensorSource(const TensorSpec& spec, WeightFiles& files) : type_(stored_type(spec.dtype)) {
  if (spec.parts.empty()) corrupt(spec.name + " has no parts");
  for (const auto& part : spec.parts) add_part(part, spec.name, files);
  bytes_ = bytes_of(shape_, element_bytes(type_));
}

void TensorSource::add_part(const TensorPart& part, const std::string& name, WeightFiles& files) {
  Part added{files.open(part.file), part.offset, part.bytes, number_type(part.dtype)};
  const auto expected = bytes_of(part.shape, element_bytes(added.type));
  if (expected != part.bytes) {
    corrupt(name + ": " + std::to_string(part.bytes) + " bytes in " + part.file + " do not make its shape (" +
            std::to_string(expected) + ")");
  }
  if (part.offset > added.file->size() || part.bytes > added.file->size() - part.offset) {
    corrupt(part.file + " ends before " + name);
  }
  auto shape = part.shape;
  added.transpose = part.transpose && shape.size() > 1;  // A vector is its own transpose.
  if (added.transpose) {
    if (shape.size() != 2) corrupt(name + ": only a matrix can be transposed");
    added.rows = static_cast<std::size_t>(shape[0]);
    added.columns = static_cast<std::size_t>(shape[1]);
    std::swap(shape[0], shape[1]);
  }
  join_shape(std::move(shape), name);
  parts_.push_back(std::move(added));
}

void TensorSource::join_shape(std::vector<std::int64_t> shape, const std::string& name) {
  if (parts_.empty()) {
    shape_ = std::move(shape);
    return;
  }
  const bool fits =
      !shape.empty() && shape.size() == shape_.size() && std::equal(shape.begin() + 1, shape.end(), shape_.begin() + 1);
  if (!fits) corrupt(name + ": its parts have shapes that cannot be joined");
  shape_[0] += shape[0];
}

void TensorSource::read(const Take& take) const {
  for (const auto& part : parts_) {
    if (part.transpose) {
      read_transposed(part, take);
    } else {
      read_straight(part, take);
    }
  }
}

void TensorSource::read_straight(const Part& part, const Take& take) const {
  std::vector<char> block(static_cast<std::size_t>(std::min(part.bytes, kBlockBytes)));
  for (std::uint64_t done = 0; done < part.bytes; done += block.size()) {
    block.resize(static_cast<std::size_t>(std::min(part.bytes - done, kBlockBytes)));
    part.file->read(part.offset + done, block.data(), block.size());
    pass_on(part.type, block, take);
  }
}

void TensorSource::read_transposed(const Part& part, const Take& take) const {
  std::vector<char> matrix(static_cast<std::size_t>(part.bytes));
  part.file->read(part.offset, matrix.data(), matrix.size());
  const auto element = static_cast<std::size_t>(element_bytes(part.type));
  std::vector<char> block;
  for (std::size_t first = 0; first < part.columns; first += kColumnsAtOnce) {
    const std::size_t count = std::min(kColumnsAtOnce, part.columns - first);
    block.resize(count * part.rows * element);
    gather_columns(matrix, part.rows, part.columns, element, first, count, block);
    pass_on(part.type, block, take);
  }
}

void TensorSource::pass_on(NumberType from, const std::vector<char>& values, const Take& take) const {
  if (is_same(from, type_)) return take(values.data(), values.size());
  const std::size_t count = values.size() / static_cast<std::size_t>(element_bytes(from));
  const auto stored = converted(from, values.data(), count, type_);
  take(stored.data(), stored.size());
}

}  // namespace torchclip::core
