#include "prefilter.h"

#include <cmath>

#include "device_code.h"
#include "kernels.h"

namespace torchclip::cuda {
namespace {

constexpr std::uint32_t kInfinityBits = 0x7f800000, kNaNBits = 0x7fc00000;
constexpr float kLeast = 1.0f / (1ll << 40), kLargest = 1ll << 40;  // Magnitudes whose products are normal floats.
constexpr float kRoundUp = 1.00001f;                                // Above the rounding of a norm to float32.
constexpr std::int64_t kSegment = 2048;                             // Values of each query in shared memory.
constexpr std::int64_t kCandidateBlocks = 64;                       // Blocks that score the candidates of a query.

__device__ double sum_over_warp(double x) {
  UNROLL
  for (int lane = kWarp / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
  return x;
}

// The largest magnitude of a row, as bits: those of NaN are above those of infinity, which are above all others.
__device__ std::uint32_t largest_bits(const float* row, std::int64_t length, int lane) {
  std::uint32_t largest = 0;
  for (std::int64_t i = lane * 4; i < length; i += kWarp * 4) {
    const auto x = load<float, 4>(row + i);
    UNROLL
    for (int j = 0; j < 4; ++j) {
      const std::uint32_t bits = bits_of(x.v[j]) & 0x7fffffffu;
      largest = bits > largest ? bits : largest;
    }
  }
  UNROLL
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const std::uint32_t other = bits_of(__shfl_xor_sync(0xffffffffu, float_of(largest), step));
    largest = other > largest ? other : largest;
  }
  return largest;
}

struct RowLengths {
  double norm = 0, error = 0;  // Squares.
};

// Four values of a row as int8, one a byte.
__device__ std::uint32_t quantized(const Pack<float, 4>& x, float scale, float inverse, RowLengths& lengths) {
  std::uint32_t word = 0;
  UNROLL
  for (int j = 0; j < 4; ++j) {
    const int value = static_cast<int>(fminf(fmaxf(rintf(x.v[j] * inverse), -127.0f), 127.0f));
    const double exact = x.v[j], rest = exact - static_cast<double>(scale) * value;
    lengths.norm += exact * exact;
    lengths.error += rest * rest;
    word |= static_cast<std::uint32_t>(value & 0xff) << 8 * j;
  }
  return word;
}

// The place of value i of a row, where QuantizedRows keeps it.
__device__ std::int64_t place_of(std::int64_t row, std::int64_t length, std::int64_t i) {
  const std::int64_t chunk = row / kTileRows * (length / kChunk) + i / kChunk;
  return (chunk * kTileRows + row % kTileRows) * kChunk + i % kChunk;
}

// A warp for each row.
__global__ void quantize_kernel(const float* rows, std::int64_t first, std::int64_t count, std::int64_t length,
                                QuantizedRows out) {
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kRowsOfBlock + thread_of_block() / kWarp;
  if (at >= count) return;
  const std::int64_t row = first + at;
  const float* from = rows + row * length;
  const int lane = thread_of_block() % kWarp;
  const std::uint32_t largest = largest_bits(from, length, lane);
  const float magnitude = float_of(largest);
  const bool is_bounded = largest == 0 || (magnitude >= kLeast && magnitude <= kLargest);
  const float scale = is_bounded ? magnitude / 127 : 0, inverse = is_bounded && largest != 0 ? 127 / magnitude : 0;
  RowLengths lengths;
  for (std::int64_t i = lane * 4; i < length; i += kWarp * 4) {
    const auto x = is_bounded ? load<float, 4>(from + i) : Pack<float, 4>{};
    *reinterpret_cast<std::uint32_t*>(out.values + place_of(row, length, i)) = quantized(x, scale, inverse, lengths);
  }
  const double norm = sum_over_warp(lengths.norm), error = sum_over_warp(lengths.error);
  if (lane != 0) return;
  out.scales[row] = scale;
  out.norms[row] = static_cast<float>(sqrt(norm)) * kRoundUp;
  const float unknown = float_of(largest > kInfinityBits ? kNaNBits : kInfinityBits);
  out.errors[row] = is_bounded ? static_cast<float>(sqrt(error)) * kRoundUp : unknown;
}

// Copies the int8 values [begin, begin + size) of all queries to shared memory.
template <int kQueries>
__device__ void load_queries(const std::int8_t* values, std::int64_t length, std::int64_t begin, std::int64_t size,
                             Pack<int, 4>* shared) {
  const int chunks = static_cast<int>(size / kChunk);
  for (int i = thread_of_block(); i < kQueries * chunks; i += kBlock) {
    const int query = i / chunks, chunk = i % chunks;
    const std::int8_t* from = values + query * length + begin + chunk * kChunk;
    shared[query * (kSegment / kChunk) + chunk] = load<int, 4>(reinterpret_cast<const int*>(from));
  }
}

__device__ float lower_bound_of(int sum, float scale, float norm, float error, const QuantizedQueries& queries, int q) {
  if (error != error) return error;
  if (error == float_of(kInfinityBits)) return -error;
  const float score = static_cast<float>(sum) * scale * queries.scales[q];
  return score - score_bound(norm, error, queries.lengths[q], queries.steps[q]);
}

// A thread for each row. kQueries: queries.count, rounded up to a power of two.
template <int kQueries>
__global__ void lower_bounds_kernel(QuantizedRows rows, std::int64_t first, std::int64_t count, std::int64_t length,
                                    QuantizedQueries queries, AllowedRows allowed, float* out, std::int64_t stride) {
  __shared__ Pack<int, 4> shared[static_cast<std::size_t>(kQueries * (kSegment / kChunk))];
  const std::int64_t row = thread_of_grid();
  int sums[static_cast<std::size_t>(kQueries)] = {};
  for (std::int64_t begin = 0; begin < length; begin += kSegment) {
    const std::int64_t size = length - begin < kSegment ? length - begin : kSegment;
    __syncthreads();  // the segment before this one has been read
    load_queries<kQueries>(queries.values, length, begin, size, shared);
    __syncthreads();
    if (row >= count) continue;
    for (std::int64_t chunk = 0; chunk < size / kChunk; ++chunk) {
      const std::int8_t* from = rows.values + place_of(row, length, begin + chunk * kChunk);
      const auto x = load<int, 4>(reinterpret_cast<const int*>(from));
      UNROLL
      for (int q = 0; q < kQueries; ++q) {
        const auto y = shared[q * (kSegment / kChunk) + chunk];
        UNROLL
        for (int j = 0; j < 4; ++j) sums[q] = __dp4a(x.v[j], y.v[j], sums[q]);
      }
    }
  }
  if (row >= count) return;
  const bool passes = allowed.passes(first + row);
  const float scale = rows.scales[row], norm = rows.norms[row];
  const float error = passes ? rows.errors[row] : float_of(kNaNBits);
  UNROLL
  for (int q = 0; q < kQueries; ++q) {
    if (q < queries.count) out[q * stride + row] = lower_bound_of(sums[q], scale, norm, error, queries, q);
  }
}

// The k-th best lower bound; -infinity if fewer rows have one.
__device__ float least_of(const std::uint64_t* best, std::int32_t k) {
  const std::uint64_t key = best[k - 1];
  const float score = key == 0 ? float_of(kNaNBits) : score_of(key);
  return score == score ? score : -float_of(kInfinityBits);
}

// A thread for each row (x) and query (y).
__global__ void collect_kernel(QuantizedRows rows, std::int64_t first, std::int64_t count, QuantizedQueries queries,
                               const float* lower, std::int64_t stride, const std::uint64_t* best, std::int32_t k,
                               Candidates out) {
  const std::int64_t row = thread_of_grid(), query = blockIdx.y;
  if (row >= count) return;
  const float least = lower[query * stride + row];
  if (least != least) return;
  const float error = rows.errors[row];
  const float bound = score_bound(rows.norms[row], error, queries.lengths[query], queries.steps[query]);
  const bool is_bounded = error != float_of(kInfinityBits);
  if (is_bounded && least + 2 * bound < least_of(best + query * k, k)) return;
  const int at = atomicAdd(&out.counts[query], 1);
  if (at < out.most) out.rows[query * out.most + at] = static_cast<std::int32_t>(first + row);
}

__device__ const float* row_at(const RowBlock* blocks, std::int64_t count, std::int64_t length, std::int64_t row) {
  std::int64_t low = 0, high = count;
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    if (blocks[middle].first <= row) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return blocks[low].rows + (row - blocks[low].first) * length;
}

// A warp for each candidate of a query (y), in turn.
__global__ void score_kernel(const RowBlock* blocks, std::int64_t block_count, std::int64_t length,
                             const float* queries, Candidates candidates, std::uint64_t* keys) {
  const std::int64_t query = blockIdx.y;
  const std::int64_t found = candidates.counts[query], count = found < candidates.most ? found : candidates.most;
  const int lane = thread_of_block() % kWarp;
  const std::int64_t warp = static_cast<std::int64_t>(blockIdx.x) * kRowsOfBlock + thread_of_block() / kWarp;
  for (std::int64_t n = warp; n < count; n += kCandidateBlocks * kRowsOfBlock) {
    const std::int32_t row = candidates.rows[query * candidates.most + n];
    const float* from = row_at(blocks, block_count, length, row);
    double sum = 0;
    for (std::int64_t i = lane * 4; i < length; i += kWarp * 4) {
      const auto x = load<float, 4>(from + i), y = load<float, 4>(queries + query * length + i);
      UNROLL
      for (int j = 0; j < 4; ++j) sum += static_cast<double>(x.v[j]) * static_cast<double>(y.v[j]);
    }
    sum = sum_over_warp(sum);
    if (lane == 0) {
      keys[query * candidates.most + n] = key_of(static_cast<float>(sum), static_cast<std::uint32_t>(row));
    }
  }
}

// A warp for each row. kQueries: query_count, rounded up to a power of two.
template <int kQueries>
__global__ void exact_kernel(RowBlock block, std::int64_t count, std::int64_t length, const float* queries,
                             std::int64_t query_count, AllowedRows allowed, float* out, std::int64_t stride) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kRowsOfBlock + thread_of_block() / kWarp;
  if (row >= count) return;
  const int lane = thread_of_block() % kWarp;
  const bool passes = allowed.passes(block.first + row);
  double sums[static_cast<std::size_t>(kQueries)] = {};
  for (std::int64_t i = lane * 4; passes && i < length; i += kWarp * 4) {
    const auto x = load<float, 4>(block.rows + row * length + i);
    UNROLL
    for (int q = 0; q < kQueries; ++q) {
      if (q >= query_count) continue;
      const auto y = load<float, 4>(queries + q * length + i);
      UNROLL
      for (int j = 0; j < 4; ++j) sums[q] += static_cast<double>(x.v[j]) * static_cast<double>(y.v[j]);
    }
  }
  UNROLL
  for (int q = 0; q < kQueries; ++q) {
    const double sum = sum_over_warp(sums[q]);
    if (lane != 0 || q >= query_count) continue;
    out[q * stride + row] = passes ? static_cast<float>(sum) : float_of(kNaNBits);
  }
}

template <int kQueries>
struct QueryCount {
  static constexpr int value = kQueries;
};

// Calls work(QueryCount<N>) with the least N of 1, 2, 4, 8 and 16 that is at least `count`.
template <typename Work>
void with_query_count(std::int64_t count, Work&& work) {
  if (count <= 1) return work(QueryCount<1>{});
  if (count <= 2) return work(QueryCount<2>{});
  if (count <= 4) return work(QueryCount<4>{});
  if (count <= 8) return work(QueryCount<8>{});
  return work(QueryCount<16>{});
}

}  // namespace

void quantize_rows(Stream stream, const float* rows, std::int64_t first, std::int64_t count, std::int64_t length,
                   const QuantizedRows& out) {
  launch<Threads::together>(quantize_kernel, {blocks_for(count, kRowsOfBlock)}, kBlock, 0, stream, rows, first, count,
                            length, out);
}

void lower_bounds(Stream stream, const QuantizedRows& rows, std::int64_t first, std::int64_t count, std::int64_t length,
                  const QuantizedQueries& queries, const AllowedRows& allowed, float* out, std::int64_t stride) {
  with_query_count(queries.count, [&](auto most) {
    launch<Threads::together>(lower_bounds_kernel<decltype(most)::value>, {blocks_for(count, kBlock)}, kBlock, 0,
                              stream, rows, first, count, length, queries, allowed, out, stride);
  });
}

void collect_candidates(Stream stream, const QuantizedRows& rows, std::int64_t first, std::int64_t count,
                        const QuantizedQueries& queries, const float* lower, std::int64_t stride,
                        const std::uint64_t* best, std::int32_t k, const Candidates& out) {
  launch<Threads::independent>(collect_kernel, {blocks_for(count, kBlock), queries.count}, kBlock, 0, stream, rows,
                               first, count, queries, lower, stride, best, k, out);
}

void score_candidates(Stream stream, const RowBlock* blocks, std::int64_t block_count, std::int64_t length,
                      const float* queries, std::int64_t query_count, const Candidates& candidates,
                      std::uint64_t* keys) {
  launch<Threads::together>(score_kernel, {kCandidateBlocks, query_count}, kBlock, 0, stream, blocks, block_count,
                            length, queries, candidates, keys);
}

void exact_scores(Stream stream, const RowBlock& block, std::int64_t count, std::int64_t length, const float* queries,
                  std::int64_t query_count, const AllowedRows& allowed, float* out, std::int64_t stride) {
  with_query_count(query_count, [&](auto most) {
    launch<Threads::together>(exact_kernel<decltype(most)::value>, {blocks_for(count, kRowsOfBlock)}, kBlock, 0, stream,
                              block, count, length, queries, query_count, allowed, out, stride);
  });
}

}  // namespace torchclip::cuda
