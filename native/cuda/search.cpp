#include "search.h"

#include <algorithm>
#include <vector>

#include "kernels.h"

namespace torchclip::cuda {
namespace {

constexpr std::int64_t kChunkBytes = 64 << 20;
constexpr std::int64_t kQueries = 1024;  // bounds the scores that are held

// Rows whose length is a multiple of 8, as the GEMM needs it; they are copied if it is not.
class Rows {
 public:
  Rows(const float* data, std::int64_t dim) : data_(data), dim_(dim), padded_((dim + 7) / 8 * 8) {}
  std::int64_t length() const { return padded_; }
  std::size_t bytes(std::int64_t rows) const { return static_cast<std::size_t>(rows * padded_) * 4; }
  const float* at(std::int64_t first, std::int64_t rows) {
    if (padded_ == dim_) return data_ + first * dim_;
    copy_.assign(static_cast<std::size_t>(rows * padded_), 0.0f);
    for (std::int64_t r = 0; r < rows; ++r) {
      std::copy_n(data_ + (first + r) * dim_, dim_, copy_.data() + r * padded_);
    }
    return copy_.data();
  }

 private:
  const float* data_;
  std::int64_t dim_, padded_;
  std::vector<float> copy_;
};

// work(first row, rows, scores of query block, first query, queries) for all chunks of the base and blocks of queries;
// scores: float [queries, rows] on the device.
template <typename Work>
void each_block(Device& device, const float* queries, std::int64_t query_rows, const float* base,
                std::int64_t base_rows, std::int64_t dim, std::int64_t chunk_rows, Work&& work) {
  Rows from(queries, dim), chunks(base, dim);
  const std::int64_t length = from.length();
  if (chunk_rows == 0) chunk_rows = std::max<std::int64_t>(1, kChunkBytes / (length * 4));
  chunk_rows = std::min(chunk_rows, base_rows);
  const auto on = device.allocate(from.bytes(query_rows));
  device.upload(on.get(), from.at(0, query_rows), from.bytes(query_rows));
  const auto scores = device.allocate(static_cast<std::size_t>(std::min(kQueries, query_rows) * chunk_rows) * 4);
  int slot = 0;
  for (std::int64_t first = 0; first < base_rows; first += chunk_rows) {
    const std::int64_t rows = std::min(chunk_rows, base_rows - first);
    device.finish(slot);
    const void* chunk = device.input_slot(slot, chunks.bytes(chunk_rows));
    device.upload_async(slot, chunks.at(first, rows), chunks.bytes(rows));
    device.begin_batch(slot);
    for (std::int64_t q = 0; q < query_rows; q += kQueries) {
      const std::int64_t count = std::min(kQueries, query_rows - q);
      GemmArgs args;
      args.a = static_cast<const float*>(on.get()) + q * length;
      args.rows = count;
      args.inner = length;
      args.weights = chunk;
      args.columns = rows;
      args.out = scores.get();
      args.stride = rows;
      device.gemm(args);
      work(first, rows, static_cast<const float*>(scores.get()), q, count);
    }
    device.end_batch(slot, nullptr, nullptr, 0);
    slot = (slot + 1) % Device::kSlots;
  }
  for (int s = 0; s < Device::kSlots; ++s) device.finish(s);
}

}  // namespace

void similarity(Device& device, const float* a, std::int64_t a_rows, const float* b, std::int64_t b_rows,
                std::int64_t dim, float* out, std::int64_t chunk_rows) {
  std::vector<float> block;
  each_block(device, a, a_rows, b, b_rows, dim, chunk_rows,
             [&](std::int64_t first, std::int64_t rows, const float* scores, std::int64_t q, std::int64_t count) {
               block.resize(static_cast<std::size_t>(count * rows));
               device.download(block.data(), scores, block.size() * 4);
               for (std::int64_t i = 0; i < count; ++i) {
                 std::copy_n(block.data() + i * rows, rows, out + (q + i) * b_rows + first);
               }
             });
}

void top_k(Device& device, const float* queries, std::int64_t query_rows, const float* base, std::int64_t base_rows,
           std::int64_t dim, std::int32_t k, std::int32_t* indices, float* scores, std::int64_t chunk_rows) {
  std::vector<std::uint64_t> keys(static_cast<std::size_t>(query_rows * k), 0);
  const auto best = device.allocate(keys.size() * 8);
  auto* on = static_cast<std::uint64_t*>(best.get());
  device.upload(on, keys.data(), keys.size() * 8);
  each_block(device, queries, query_rows, base, base_rows, dim, chunk_rows,
             [&](std::int64_t first, std::int64_t rows, const float* found, std::int64_t q, std::int64_t count) {
               select_top_k(device.stream(), found, count, rows, rows, first, k, on + q * k);
             });
  device.download(keys.data(), on, keys.size() * 8);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    indices[i] = static_cast<std::int32_t>(row_of(keys[i]));
    scores[i] = score_of(keys[i]);
  }
}

}  // namespace torchclip::cuda
