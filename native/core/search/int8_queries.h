// A block of queries against int8 rows: few queries use dot products at the speed of memory, more use a matrix
// multiplication.
#pragma once

#include <cstdint>
#include <vector>

#include "linalg/packed.h"

namespace torchclip::core {

class Int8Queries {
 public:
  // queries: float32 [count, dim].
  Int8Queries(const Context& context, const float* queries, std::int64_t count, std::int64_t dim);

  // Computes the scores of `rows` rows (row stride `stride` in bytes, with their scales and sums) with the queries of
  // `panel`: out[row * kPanel + query].
  void scores(const Kernels& kernels, const char* data, std::int64_t stride, const float* scales,
              const std::int32_t* sums, std::int64_t rows, std::int64_t panel, float* out) const;

 private:
  std::int64_t count_, stride_;
  std::vector<std::uint8_t> rounded_;  // For few queries: [count, stride].
  std::vector<float> scales_;
  Linear packed_;  // For more queries.
};

}  // namespace torchclip::core
