// A block of queries against rows of int8: few of them at the speed of memory, more as a product.
#pragma once

#include <cstdint>
#include <vector>

#include "linalg/packed.h"

namespace torchclip::core {

class Int8Queries {
 public:
  // queries: float32 [count, dim].
  Int8Queries(const Context& context, const float* queries, std::int64_t count, std::int64_t dim);

  // The scores of `rows` rows (row stride `stride` bytes, with their scales and sums) and the queries of `panel`:
  // out[row * kPanel + query].
  void scores(const Kernels& kernels, const char* data, std::int64_t stride, const float* scales,
              const std::int32_t* sums, std::int64_t rows, std::int64_t panel, float* out) const;

 private:
  std::int64_t count_, stride_;
  std::vector<std::uint8_t> rounded_;  // of few: [count, stride]
  std::vector<float> scales_;
  Linear packed_;  // of more
};

}  // namespace torchclip::core
