// The kernels of a search over rows that stay on a device. An int8 copy of the rows bounds every score, and the rows
// whose bounds allow them to be among the best are scored exactly. Pointers are to device memory, and calls are queued
// on `stream`.
#pragma once

#include "numbers.h"

namespace torchclip::cuda {

constexpr std::int64_t kTileRows = 32;         // Rows whose int8 values are interleaved: one for each lane of a warp.
constexpr std::int64_t kChunk = 16;            // Consecutive int8 values of a row, which a thread loads at once.
constexpr std::int64_t kQueriesTogether = 16;  // The most queries that one pass over the rows scores.

// Float rows as int8: row r is scales[r] * values[r] plus an error. `length`, the number of values of a row, is a
// multiple of 64; the rows are padded with zeros.
struct QuantizedRows {
  std::int8_t* values;  // [tiles, length / kChunk, kTileRows, kChunk]; row r is row r % kTileRows of its tile.
  float* scales;        // [rows]
  float* norms;         // [rows]: |row|, rounded up.
  float* errors;        // [rows]: the length of the error, rounded up. Infinity: the row has no bound, because it is
                        // infinite or of a magnitude outside 2^-40 ... 2^40. NaN: it holds a NaN, no query finds it.
};

// Queries as int8, quantized as rows are.
struct QuantizedQueries {
  const std::int8_t* values;  // [count, length]
  const float* scales;        // [count]
  const float* lengths;       // [count]: |query|, rounded up.
  const float* steps;         // [count]: the length of the error, rounded up.
  std::int64_t count;         // At most kQueriesTogether.
};

// The rows that a search may find: one bit each, lowest bit of each byte first. Rows without a bit are excluded. If
// `bits` is null, every row passes.
struct AllowedRows {
  const std::uint8_t* bits = nullptr;
  std::int64_t rows = 0;

  HOST_DEVICE bool passes(std::int64_t row) const {
    return !bits || (row < rows && (bits[row >> 3] >> (row & 7) & 1) != 0);
  }
};

// Above all rounding of a score and of its bounds, relative to the product of the norms. An exact score is rounded to
// float32 once; the int8 score has an exact sum and three rounded products, and is at most 4.1 |query| |row|, since an
// error is at most 1.01 times the norm where there are at most 65,536 values. Adding and subtracting the bound rounds
// three times. Each rounding is at most 2^-24 of a number below 13 |query| |row|, all together below 3e-6.
constexpr float kScoreRounding = 1e-5f;

// How far the exact score of a query and a row can be from the score of their int8 forms:
// |q r - q8 r8| <= |r| |q - q8| + |r - r8| |q8| (Cauchy-Schwarz), and |q8| <= |q| + |q - q8|.
HOST_DEVICE float score_bound(float norm, float error, float length, float step) {
  return norm * step + error * (length + step) + kScoreRounding * norm * length;
}

// Quantizes rows [first, first + count) of float [rows, length]; the magnitude of its largest value becomes 127.
void quantize_rows(Stream stream, const float* rows, std::int64_t first, std::int64_t count, std::int64_t length,
                   const QuantizedRows& out);

// Rows on the device that lie together.
struct RowBlock {
  const float* rows;   // [.., length]
  QuantizedRows int8;  // The same rows.
  std::int64_t first;  // The number of the first one: a multiple of kTileRows.
};

// All rows of a search.
struct RowList {
  const RowBlock* blocks;  // [block_count], on the device, in the order of their rows, without gaps.
  std::int64_t block_count, rows, length;

  HOST_DEVICE std::int64_t tiles() const { return (rows + kTileRows - 1) / kTileRows; }
  // The distance between the scores of two queries.
  HOST_DEVICE std::int64_t stride() const { return tiles() * kTileRows; }
};

// What bounds the exact scores of each query and row. A row without a bound has -infinity and infinity, a row that is
// never found NaN.
struct ScoreBounds {
  float* lower;       // [queries, stride]
  float* tile_lower;  // [queries, tiles]: the largest lower bound of each tile; NaN: none of its rows is ever found.
  float* tile_upper;  // [queries, tiles]: the largest upper bound of each tile; NaN likewise.
};

void bound_scores(Stream stream, const RowList& rows, const QuantizedQueries& queries, const AllowedRows& allowed,
                  const ScoreBounds& out);

// The rows that may be among the k best of each query.
struct Candidates {
  std::int32_t* rows;    // [queries, most]
  std::int32_t* counts;  // [queries]: how many were found, which may be more than `most`; begins at 0.
  std::int64_t most;
};

// Appends the rows whose upper bound reaches the lower bound of k tiles, each of which has a row that is at least as
// good. best: uint64 [queries.count, k], keys of the best of bounds.tile_lower (select_top_k).
void collect_candidates(Stream stream, const RowList& rows, const QuantizedQueries& queries, const ScoreBounds& bounds,
                        const std::uint64_t* best, std::int32_t k, const Candidates& out);

// Scores each query's candidates: keys (key_of) as uint64 [queries, candidates.most]. An exact score is the sum of
// the products in double, rounded to float32. queries: float [queries, length].
void score_candidates(Stream stream, const RowList& rows, const float* queries, std::int64_t query_count,
                      const Candidates& candidates, std::uint64_t* keys);

// Scores all rows exactly, with the bits of score_candidates: float [query_count, stride]; NaN for rows that are not
// allowed. query_count <= kQueriesTogether.
void exact_scores(Stream stream, const RowList& rows, const float* queries, std::int64_t query_count,
                  const AllowedRows& allowed, float* out);

}  // namespace torchclip::cuda
