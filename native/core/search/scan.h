// Finds the k best rows of each query by scoring every row, or every row that passes a filter.
#pragma once

#include <cstdint>

#include "linalg/packed.h"
#include "search/filter.h"
#include "search/rows.h"

namespace torchclip::core {

struct Hits {
  std::int32_t* indices;  // [queries, k]: row numbers, best first, equal scores by row number; -1 after the last hit
  float* scores;          // [queries, k]: NaN after the last hit
};

struct Query {
  const float* data;  // float32 [count, dim]
  std::int64_t count;
  std::int32_t k;
  RowFilter filter;
};

struct Hit {
  float score;
  std::int32_t row;
  bool operator<(const Hit& other) const {  // Better hits come first.
    return score > other.score || (score == other.score && row < other.row);
  }
};

// Throws Error(E_ARGUMENT) unless 1 <= k <= rows.
void check_k(std::int32_t k, std::int64_t rows);

// Writes the k best of `found`, which it reorders, as result `at` of `hits`.
void write_hits(std::vector<Hit>& found, std::int32_t k, std::int64_t at, const Hits& hits);

// NaN scores are never hits.
void scan(const Context& context, const RowView& rows, const Query& query, const Hits& hits);

}  // namespace torchclip::core
