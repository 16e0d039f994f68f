// The queries of a search as int8.
#pragma once

#include <cstdint>
#include <vector>

#include "layers.h"
#include "prefilter.h"

namespace torchclip::cuda {

// Where they lie in memory that the host writes and the device gets as it is.
class QueryBlock {
 public:
  // `length`: a multiple of 64.
  QueryBlock(std::int64_t length, std::int64_t count) : length_(length), count_(count) {}

  // A multiple of 16.
  std::int64_t bytes() const { return numbers_bytes() + count_ * length_; }
  // Quantizes float [count, length] into bytes() at `to`. Returns for each query whether it has bounds: all of its
  // values are finite, and the largest is 0 or in 2^-40 ... 2^40.
  std::vector<bool> write(const float* queries, void* to) const;
  // Queries [first, first + count) of those that lie at `base` on the device; count <= kQueriesTogether.
  QuantizedQueries queries(const void* base, std::int64_t first, std::int64_t count) const;

 private:
  // First scales, lengths and steps, float [3, count], then the values, int8 [count, length].
  std::int64_t numbers_bytes() const { return core::round_up(count_ * 3 * 4, 16); }
  float* numbers_of(void* base) const { return static_cast<float*>(base); }
  std::int8_t* values_of(void* base) const { return static_cast<std::int8_t*>(base) + numbers_bytes(); }
  bool quantize(const float* query, float* numbers, std::int8_t* values) const;

  std::int64_t length_, count_;
};

}  // namespace torchclip::cuda
