// Exact scores: sums in float64, rounded to float32 once.
#include "device_code.h"
#include "kernels.h"
#include "prefilter.h"
#include "row_tiles.h"
#include "tensor_core.h"

namespace torchclip::cuda {
namespace {

// Float64 sums of the products of rows and queries: those of a row and of queries 2 t and 2 t + 1 in a lane. Both
// kernels add in the same order, so that a score has the same bits in either: steps of 16 values, of which value
// 4 t + m of each lane is multiplied in the m-th product of tensor cores.
constexpr int kStep = 16;
constexpr std::int64_t kCandidateBlocks = 64;  // Blocks that score the candidates of a query.

// A warp for eight candidates of a query (y), in turn. The query is the first column of the products.
__global__ void score_kernel(RowList list, const float* queries, Candidates candidates, std::uint64_t* keys) {
  const Lane lane = lane_of_thread();
  const std::int64_t query = blockIdx.y;
  const std::int64_t found = candidates.counts[query], count = found < candidates.most ? found : candidates.most;
  const std::int64_t warp = static_cast<std::int64_t>(blockIdx.x) * kRowsOfBlock + thread_of_block() / kWarp;
  for (std::int64_t n = warp * kGroup; n < count; n += kCandidateBlocks * kRowsOfBlock * kGroup) {
    const std::int64_t at = query * candidates.most + (n + lane.g < count ? n + lane.g : count - 1);
    const std::int32_t row = candidates.rows[at];
    const RowBlock& block = block_of(list, row);
    const float* from = block.rows + (row - block.first) * list.length + 4 * lane.t;
    const float* with = queries + query * list.length + 4 * lane.t;
    double sums[2] = {};
    for (std::int64_t i = 0; i < list.length; i += kStep) {
      const auto x = load<float, 4>(from + i), y = lane.g == 0 ? load<float, 4>(with + i) : Pack<float, 4>{};
      UNROLL
      for (int m = 0; m < 4; ++m) multiply_add_f64(sums, static_cast<double>(x.v[m]), static_cast<double>(y.v[m]));
    }
    if (lane.t != 0 || n + lane.g >= count) continue;
    keys[at] = key_of(static_cast<float>(sums[0]), static_cast<std::uint32_t>(row));
  }
}

using F64Pair = Pack<double, 2>;
constexpr int kF64Segment = 256;  // Values of each query in shared memory.
// Pairs from one query to the next there: the lanes of a quarter of a warp read from different banks.
constexpr int kF64Stride = kF64Segment / 2 + 1;

// Copies the values [begin, begin + size) of the queries to shared memory, as float64.
__device__ void load_f64(const float* queries, int query_count, std::int64_t length, std::int64_t begin,
                         std::int64_t size, F64Pair* shared) {
  const int fours = static_cast<int>(size) / 4;
  for (int i = thread_of_block(); i < query_count * fours; i += kBlock) {
    const int query = i / fours, four = i % fours;
    const auto x = load<float, 4>(queries + query * length + begin + 4 * four);
    F64Pair* to = shared + query * kF64Stride + 2 * four;
    to[0] = {x.v[0], x.v[1]};
    to[1] = {x.v[2], x.v[3]};
  }
}

// Adds the products of the rows of a tile and kGroups times eight queries. row(j): row 8 j + g of the tile.
template <std::size_t kGroups, typename Row>
__device__ void add_f64_products(const Row& row, std::int64_t size, const F64Pair* queries, Lane lane,
                                 double (&sums)[kGroups][4][2]) {
  for (int i = 0; i < size; i += kStep) {
    F64Pair y[kGroups][2];
    UNROLL
    for (std::size_t group = 0; group < kGroups; ++group) {
      const F64Pair* from = queries + (static_cast<int>(group) * kGroup + lane.g) * kF64Stride + i / 2 + 2 * lane.t;
      y[group][0] = from[0];
      y[group][1] = from[1];
    }
    UNROLL
    for (int j = 0; j < 4; ++j) {
      const auto x = load<float, 4>(row(j) + i);
      UNROLL
      for (int m = 0; m < 4; ++m) {
        UNROLL
        for (std::size_t group = 0; group < kGroups; ++group) {
          multiply_add_f64(sums[group][j], static_cast<double>(x.v[m]), y[group][m / 2].v[m % 2]);
        }
      }
    }
  }
}

// A warp for each tile, kGroups times eight queries at most.
template <std::size_t kGroups>
__global__ void exact_kernel(RowList list, const float* queries, std::int64_t query_count, AllowedRows allowed,
                             float* out) {
  __shared__ F64Pair shared[kGroups * static_cast<std::size_t>(kGroup * kF64Stride)];
  const Lane lane = lane_of_thread();
  const std::int64_t first = tile_of_warp() * kTileRows;
  const bool is_here = first < list.rows;
  const RowBlock block = is_here ? block_of(list, first) : RowBlock{};
  double sums[kGroups][4][2] = {};
  for (std::int64_t begin = 0; begin < list.length; begin += kF64Segment) {
    const std::int64_t size = list.length - begin < kF64Segment ? list.length - begin : kF64Segment;
    __syncthreads();  // the segment before this one has been read
    load_f64(queries, static_cast<int>(query_count), list.length, begin, size, shared);
    __syncthreads();
    const auto row = [&](int j) {
      const std::int64_t wanted = first + j * kGroup + lane.g, at = wanted < list.rows ? wanted : list.rows - 1;
      return block.rows + (at - block.first) * list.length + begin + 4 * lane.t;
    };
    if (is_here) add_f64_products(row, size, shared, lane, sums);
  }
  if (!is_here) return;
  UNROLL
  for (int j = 0; j < 4; ++j) {
    const std::int64_t row = first + j * kGroup + lane.g;
    const bool passes = row < list.rows && allowed.passes(row);
    UNROLL
    for (std::size_t group = 0; group < kGroups; ++group) {
      UNROLL
      for (int i = 0; i < 2; ++i) {
        const std::int64_t q = static_cast<int>(group) * kGroup + 2 * lane.t + i;
        if (q >= query_count) continue;
        out[q * list.stride() + row] = passes ? static_cast<float>(sums[group][j][i]) : float_of(0x7fc00000);
      }
    }
  }
}

}  // namespace

void score_candidates(Stream stream, const RowList& rows, const float* queries, std::int64_t query_count,
                      const Candidates& candidates, std::uint64_t* keys) {
  launch<Threads::together>(score_kernel, {kCandidateBlocks, query_count}, kBlock, 0, stream, rows, queries, candidates,
                            keys);
}

void exact_scores(Stream stream, const RowList& rows, const float* queries, std::int64_t query_count,
                  const AllowedRows& allowed, float* out) {
  const auto kernel = query_count <= kGroup ? exact_kernel<1> : exact_kernel<2>;
  launch<Threads::together>(kernel, {blocks_for(rows.tiles(), kTilesOfBlock)}, kBlock, 0, stream, rows, queries,
                            query_count, allowed, out);
}

}  // namespace torchclip::cuda
