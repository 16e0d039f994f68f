// An int8 copy of a float32 base, a quarter of its size, by which a few queries find the rows that could be among the
// best. Each int8 score is within a bound of the exact score, so the exact scores of a few hundred rows decide, and the
// result equals that of a full scan bit for bit.
#pragma once

#include <cstdint>
#include <vector>

#include "linalg/packed.h"
#include "search/filter.h"

namespace torchclip::core {

constexpr std::int64_t kSegment = 448;  // The number of rows whose scores are processed together.

class Int8Prefilter {
 public:
  explicit Int8Prefilter(std::int64_t dim) : dim_(dim), stride_(row_bytes(DType::s8, dim)) {}

  // Adds the rows of the base from rows() on. Returns false if they contain values that are not finite; no prefilter is
  // possible then.
  bool add(const Context& context, const float* rows, std::int64_t count);
  std::int64_t rows() const noexcept { return rows_; }
  std::size_t bytes() const noexcept { return data_.size() + norms_.size() * 16; }

  struct Candidate {
    std::int32_t row;
    float upper;  // An upper bound of the exact score.
  };
  // Finds, for each query (float32 [count, dim]; at most some hundred, so that their panels stay in the L2 cache), all
  // rows whose exact score may be among the k best of the rows that pass `filter`. Returns false if the queries are not
  // finite.
  bool candidates(const Context& context, const float* queries, std::int64_t count, std::int32_t k,
                  const RowFilter& filter, std::vector<std::vector<Candidate>>& found) const;

 private:
  struct Lane;
  class Search;

  std::int64_t dim_, stride_, rows_ = 0;
  std::vector<char> data_;             // [rows, stride] of int8
  std::vector<float> scales_;          // Of each row.
  std::vector<std::int32_t> sums_;     // The sum of each row's int8 values.
  std::vector<float> norms_, errors_;  // |row| and |row - its int8 form|, both rounded up.
  float max_norm_ = 0, max_error_ = 0;
};

}  // namespace torchclip::core
