#include "prefilter.h"

#include <cmath>

#include "device_code.h"
#include "kernels.h"
#include "row_tiles.h"
#include "tensor_core.h"

namespace torchclip::cuda {
namespace {

constexpr std::uint32_t kInfinityBits = 0x7f800000, kNaNBits = 0x7fc00000;
constexpr float kLeast = 1.0f / (1ll << 40), kLargest = 1ll << 40;  // Magnitudes whose products are normal floats.
constexpr float kRoundUp = 1.00001f;                                // Above the rounding of a norm to float32.

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

using Int8Values = Pack<std::uint32_t, 4>;  // kChunk values
constexpr int kInt8Segment = 2048;          // Values of each query in shared memory.
// Chunks from one query to the next there: the lanes of a quarter of a warp read from different banks.
constexpr int kInt8Stride = (kInt8Segment + 64) / static_cast<int>(kChunk);

// Copies the int8 values [begin, begin + size) of all queries to shared memory.
__device__ void load_queries(const QuantizedQueries& queries, std::int64_t length, std::int64_t begin,
                             std::int64_t size, Int8Values* shared) {
  const int chunks = static_cast<int>(size / kChunk);
  for (int i = thread_of_block(); i < queries.count * chunks; i += kBlock) {
    const int query = i / chunks, chunk = i % chunks;
    const std::int8_t* from = queries.values + query * length + begin + chunk * kChunk;
    shared[query * kInt8Stride + chunk] = load<std::uint32_t, 4>(reinterpret_cast<const std::uint32_t*>(from));
  }
}

// Adds the products of a tile's rows and 16 queries: those of rows 8 j + 2 t + i of queries g and g + 8 in sums[j][i]
// and sums[j][2 + i]. A lane holds four chunks' parts as they lie in memory: the products' sums are exact, so that the
// order of the values is free.
__device__ void add_int8_products(const std::int8_t* tile, std::int64_t size, const Int8Values* queries, Lane lane,
                                  int (&sums)[4][4]) {
  for (int chunk = 0; chunk < size / kChunk; chunk += 4) {
    const auto low = queries[lane.g * kInt8Stride + chunk + lane.t];
    const auto high = queries[(lane.g + kGroup) * kInt8Stride + chunk + lane.t];
    UNROLL
    for (int j = 0; j < 4; ++j) {
      const std::int8_t* from = tile + ((chunk + lane.t) * kTileRows + j * kGroup + lane.g) * kChunk;
      const auto x = load<std::uint32_t, 4>(reinterpret_cast<const std::uint32_t*>(from));
      multiply_add_int8(sums[j], {low.v[0], high.v[0], low.v[1], high.v[1]}, {x.v[0], x.v[1]});
      multiply_add_int8(sums[j], {low.v[2], high.v[2], low.v[3], high.v[3]}, {x.v[2], x.v[3]});
    }
  }
}

struct Bounds {
  float lower, upper;
};

// How far a score can be from that of the int8 forms.
__device__ float bound_of(float norm, float error, const QuantizedQueries& queries, std::int64_t q) {
  return score_bound(norm, error, queries.lengths[q], queries.steps[q]);
}

__device__ Bounds bounds_of(int sum, float scale, float norm, float error, const QuantizedQueries& queries, int q) {
  if (error != error) return {error, error};
  const float infinity = float_of(kInfinityBits);
  if (error == infinity) return {-infinity, infinity};
  const float score = static_cast<float>(sum) * scale * queries.scales[q], bound = bound_of(norm, error, queries, q);
  const float lower = score - bound;
  return {lower, lower + 2 * bound};
}

// The largest of the numbers of the four lanes of a row of fragments; NaN if all are.
__device__ float largest_of_four(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

// What bounds the scores of the rows of a lane, 8 j + 2 t + i of their tile. A row that is never found has NaN as
// error.
struct RowNumbers {
  float scale[4][2], norm[4][2], error[4][2];
};

__device__ RowNumbers numbers_of(const RowList& list, const RowBlock& block, std::int64_t first, Lane lane,
                                 const AllowedRows& allowed) {
  RowNumbers numbers;
  UNROLL
  for (int j = 0; j < 4; ++j) {
    UNROLL
    for (int i = 0; i < 2; ++i) {
      const std::int64_t row = first + j * kGroup + 2 * lane.t + i, at = row - block.first;
      const bool passes = row < list.rows && allowed.passes(row);
      numbers.scale[j][i] = passes ? block.int8.scales[at] : 0;
      numbers.norm[j][i] = passes ? block.int8.norms[at] : 0;
      numbers.error[j][i] = passes ? block.int8.errors[at] : float_of(kNaNBits);
    }
  }
  return numbers;
}

// Writes the bounds of a tile and queries g and g + 8.
__device__ void write_bounds(const RowList& list, const RowNumbers& rows, std::int64_t tile, Lane lane,
                             const int (&sums)[4][4], const QuantizedQueries& queries, const ScoreBounds& out) {
  UNROLL
  for (int half = 0; half < 2; ++half) {
    const int q = lane.g + kGroup * half;
    const bool is_query = q < queries.count;
    Bounds largest{float_of(kNaNBits), float_of(kNaNBits)};
    UNROLL
    for (int j = 0; j < 4; ++j) {
      if (!is_query) continue;
      Pack<float, 2> lower;
      UNROLL
      for (int i = 0; i < 2; ++i) {
        const int sum = sums[j][2 * half + i];
        const auto bounds = bounds_of(sum, rows.scale[j][i], rows.norm[j][i], rows.error[j][i], queries, q);
        lower.v[i] = bounds.lower;
        largest = {fmaxf(largest.lower, bounds.lower), fmaxf(largest.upper, bounds.upper)};
      }
      store<float, 2>(out.lower + q * list.stride() + tile * kTileRows + j * kGroup + 2 * lane.t, lower);
    }
    largest = {largest_of_four(largest.lower), largest_of_four(largest.upper)};
    if (!is_query || lane.t != 0) continue;
    out.tile_lower[q * list.tiles() + tile] = largest.lower;
    out.tile_upper[q * list.tiles() + tile] = largest.upper;
  }
}

// A warp for each tile.
__global__ void bound_kernel(RowList list, QuantizedQueries queries, AllowedRows allowed, ScoreBounds out) {
  __shared__ Int8Values shared[static_cast<std::size_t>(kQueriesTogether * kInt8Stride)];
  const Lane lane = lane_of_thread();
  const std::int64_t tile = tile_of_warp(), first = tile * kTileRows;
  const bool is_here = first < list.rows;
  const RowBlock block = is_here ? block_of(list, first) : RowBlock{};
  int sums[4][4] = {};
  for (std::int64_t begin = 0; begin < list.length; begin += kInt8Segment) {
    const std::int64_t size = list.length - begin < kInt8Segment ? list.length - begin : kInt8Segment;
    __syncthreads();  // the segment before this one has been read
    load_queries(queries, list.length, begin, size, shared);
    __syncthreads();
    if (!is_here) continue;
    const std::int8_t* values = block.int8.values + (first - block.first) * list.length + begin * kTileRows;
    add_int8_products(values, size, shared, lane, sums);
  }
  if (is_here) write_bounds(list, numbers_of(list, block, first, lane, allowed), tile, lane, sums, queries, out);
}

// A lower bound of the k-th best score: the k-th best of the tiles' lower bounds; -infinity if fewer tiles have one.
__device__ float least_of(const std::uint64_t* best, std::int32_t k) {
  const std::uint64_t key = best[k - 1];
  const float score = key == 0 ? float_of(kNaNBits) : score_of(key);
  return score == score ? score : -float_of(kInfinityBits);
}

// Appends the row of a tile that the calling lane has, if its upper bound reaches `least`.
__device__ void collect_row(const RowList& list, const RowBlock& block, std::int64_t row,
                            const QuantizedQueries& queries, std::int64_t query, const ScoreBounds& bounds, float least,
                            const Candidates& out) {
  const float lower = bounds.lower[query * list.stride() + row];
  if (lower != lower) return;
  const std::int64_t at = row - block.first;
  const float error = block.int8.errors[at], bound = bound_of(block.int8.norms[at], error, queries, query);
  if (error != float_of(kInfinityBits) && lower + 2 * bound < least) return;
  const int place = atomicAdd(&out.counts[query], 1);
  if (place < out.most) out.rows[query * out.most + place] = static_cast<std::int32_t>(row);
}

// A thread for each tile (x) and query (y). The rows of a tile whose upper bound reaches the least are looked at by the
// whole warp, a lane for each.
__global__ void collect_kernel(RowList list, QuantizedQueries queries, ScoreBounds bounds, const std::uint64_t* best,
                               std::int32_t k, Candidates out) {
  const int lane = thread_of_block() % kWarp;
  const std::int64_t tile = thread_of_grid(), query = blockIdx.y;
  const float least = least_of(best + query * k, k);
  // NaN, of a tile without rows, reaches nothing.
  const bool reaches = tile < list.tiles() && bounds.tile_upper[query * list.tiles() + tile] >= least;
  for (unsigned left = __ballot_sync(0xffffffffu, reaches); left != 0; left &= left - 1) {
    const std::int64_t row = (tile - lane + __ffs(static_cast<int>(left)) - 1) * kTileRows + lane;
    collect_row(list, block_of(list, row - lane), row, queries, query, bounds, least, out);
  }
}

}  // namespace

void quantize_rows(Stream stream, const float* rows, std::int64_t first, std::int64_t count, std::int64_t length,
                   const QuantizedRows& out) {
  launch<Threads::together>(quantize_kernel, {blocks_for(count, kRowsOfBlock)}, kBlock, 0, stream, rows, first, count,
                            length, out);
}

void bound_scores(Stream stream, const RowList& rows, const QuantizedQueries& queries, const AllowedRows& allowed,
                  const ScoreBounds& out) {
  launch<Threads::together>(bound_kernel, {blocks_for(rows.tiles(), kTilesOfBlock)}, kBlock, 0, stream, rows, queries,
                            allowed, out);
}

void collect_candidates(Stream stream, const RowList& rows, const QuantizedQueries& queries, const ScoreBounds& bounds,
                        const std::uint64_t* best, std::int32_t k, const Candidates& out) {
  launch<Threads::together>(collect_kernel, {blocks_for(rows.tiles(), kBlock), queries.count}, kBlock, 0, stream, rows,
                            queries, bounds, best, k, out);
}

}  // namespace torchclip::cuda
