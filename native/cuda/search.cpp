#include "search.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "kernels.h"
#include "padded_rows.h"

namespace torchclip::cuda {
namespace {

constexpr std::int64_t kChunkBytes = 64 << 20;
constexpr std::int64_t kQueries = 1024;  // bounds the scores that are held

std::int64_t rows_of_chunk(std::int64_t chunk_rows, std::int64_t length, std::int64_t base_rows) {
  if (chunk_rows == 0) chunk_rows = std::max<std::int64_t>(1, kChunkBytes / (length * 4));
  return std::min(chunk_rows, base_rows);
}

// Queries on the device, and room for their scores with a chunk of the base.
class Queries {
 public:
  // A block of queries with their scores for rows of the base: float [count, rows] on the device.
  struct Scores {
    const float* values;
    std::int64_t first, rows;         // Rows of the base.
    std::int64_t first_query, count;  // Queries.
  };

  Queries(Device& device, const float* queries, std::int64_t count, std::int64_t dim, std::int64_t chunk_rows)
      : device_(device), count_(count), length_(core::round_up(dim, kInnerMultiple)) {
    PaddedRows from(queries, dim);
    rows_ = device.allocate(from.bytes(count));
    device.upload(rows_.get(), from.at(0, count), from.bytes(count));
    scores_ = device.allocate(static_cast<std::size_t>(std::min(kQueries, count) * chunk_rows) * 4);
  }

  // Calls work(Scores) for each block of queries, with `rows` rows of the base from row `first` on, which lie at
  // `chunk` on the device.
  template <typename Work>
  void score(const float* chunk, std::int64_t first, std::int64_t rows, Work&& work) {
    for (std::int64_t q = 0; q < count_; q += kQueries) {
      const std::int64_t count = std::min(kQueries, count_ - q);
      GemmArgs args;
      args.a = static_cast<const float*>(rows_.get()) + q * length_;
      args.rows = count;
      args.inner = length_;
      args.weights = chunk;
      args.columns = args.stride = rows;
      args.out = scores_.get();
      device_.gemm(args);
      work(Scores{static_cast<const float*>(scores_.get()), first, rows, q, count});
    }
  }

 private:
  Device& device_;
  std::int64_t count_, length_;
  Memory rows_, scores_;
};

// Sends the base to the device, chunk by chunk, each while the previous one is scored.
template <typename Work>
void stream(Device& device, Queries& queries, const float* base, std::int64_t base_rows, std::int64_t dim,
            std::int64_t chunk_rows, Work&& work) {
  PaddedRows chunks(base, dim);
  int slot = 0;
  for (std::int64_t first = 0; first < base_rows; first += chunk_rows) {
    const std::int64_t rows = std::min(chunk_rows, base_rows - first);
    device.finish(slot);
    const void* chunk = device.input_slot(slot, chunks.bytes(chunk_rows));
    device.upload_async(slot, chunks.at(first, rows), chunks.bytes(rows));
    device.begin_batch(slot);
    queries.score(static_cast<const float*>(chunk), first, rows, work);
    device.end_batch(slot, nullptr, nullptr, 0);
    slot = (slot + 1) % Device::kSlots;
  }
  for (int s = 0; s < Device::kSlots; ++s) device.finish(s);
}

// The hits of queries so far, on the device.
class BestHits {
 public:
  BestHits(Device& device, std::int64_t queries, std::int32_t k, std::int64_t chunk_rows)
      : device_(device),
        queries_(queries),
        k_(k),
        parts_(parts_for(device, queries, chunk_rows)),
        keys_(static_cast<std::size_t>(queries * parts_ * k), 0),
        on_device_(device.allocate(keys_.size() * 8)) {
    device.upload(on_device_.get(), keys_.data(), keys_.size() * 8);
  }

  void add(const Queries::Scores& s) {
    auto* best = static_cast<std::uint64_t*>(on_device_.get()) + s.first_query * parts_ * k_;
    select_top_k(device_.stream(), s.values, s.count, s.rows, s.rows, s.first, k_, parts_, true, best);
  }

  void write(std::int32_t* indices, float* scores) {
    device_.download(keys_.data(), on_device_.get(), keys_.size() * 8);
    const auto merged = merged_hits(keys_, queries_, parts_, k_);
    write_hits(merged.data(), static_cast<std::int64_t>(merged.size()), indices, scores);
  }

 private:
  // Two blocks for each multiprocessor, or fewer if they had few rows; with many queries, one a query.
  static std::int64_t parts_for(const Device& device, std::int64_t queries, std::int64_t chunk_rows) {
    constexpr std::int64_t kLeastRows = 1024;
    return std::max<std::int64_t>(1, std::min(2 * device.multiprocessors() / queries, chunk_rows / kLeastRows));
  }

  Device& device_;
  std::int64_t queries_;
  std::int32_t k_;
  std::int64_t parts_;
  std::vector<std::uint64_t> keys_;
  Memory on_device_;
};

}  // namespace

void similarity(Device& device, const float* a, std::int64_t a_rows, const float* b, std::int64_t b_rows,
                std::int64_t dim, float* out, std::int64_t chunk_rows) {
  chunk_rows = rows_of_chunk(chunk_rows, core::round_up(dim, kInnerMultiple), b_rows);
  Queries queries(device, a, a_rows, dim, chunk_rows);
  std::vector<float> block;
  stream(device, queries, b, b_rows, dim, chunk_rows, [&](const Queries::Scores& s) {
    block.resize(static_cast<std::size_t>(s.count * s.rows));
    device.download(block.data(), s.values, block.size() * 4);
    for (std::int64_t i = 0; i < s.count; ++i) {
      std::copy_n(block.data() + i * s.rows, s.rows, out + (s.first_query + i) * b_rows + s.first);
    }
  });
}

std::vector<std::uint64_t> merged_hits(const std::vector<std::uint64_t>& keys, std::int64_t queries, std::int64_t parts,
                                       std::int32_t k) {
  if (parts == 1) return keys;
  std::vector<std::uint64_t> merged(static_cast<std::size_t>(queries * k));
  for (std::int64_t q = 0; q < queries; ++q) {
    const auto from = keys.begin() + q * parts * k;
    std::partial_sort_copy(from, from + parts * k, merged.begin() + q * k, merged.begin() + (q + 1) * k,
                           std::greater<>());
  }
  return merged;
}

void top_k(Device& device, const float* queries, std::int64_t query_rows, const float* base, std::int64_t base_rows,
           std::int64_t dim, std::int32_t k, std::int32_t* indices, float* scores, std::int64_t chunk_rows) {
  chunk_rows = rows_of_chunk(chunk_rows, core::round_up(dim, kInnerMultiple), base_rows);
  Queries from(device, queries, query_rows, dim, chunk_rows);
  BestHits best(device, query_rows, k, chunk_rows);
  stream(device, from, base, base_rows, dim, chunk_rows, [&](const Queries::Scores& s) { best.add(s); });
  best.write(indices, scores);
}

void write_hits(const std::uint64_t* keys, std::int64_t count, std::int32_t* indices, float* scores) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float score = score_of(keys[i]);
    scores[i] = score;
    indices[i] = std::isnan(score) ? -1 : static_cast<std::int32_t>(row_of(keys[i]));
  }
}

}  // namespace torchclip::cuda
