// Inner products on a GPU by libtorch's GEMM.
#pragma once

#include <cstdint>

#include "libtorch.h"

namespace torchclip::libtorch {

// Rows in the memory of a CUDA device.
class DeviceRows {
 public:
  // values: float [count, dim]
  DeviceRows(int cuda_device, const float* values, std::int64_t count, std::int32_t dim);

  // out[i, j] = queries[i] . row[j]; queries: float [count, dim], out: float [count, rows].
  void inner_products(const float* queries, std::int64_t count, float* out) const;

 private:
  at::Tensor on_device(const float* data, std::int64_t rows) const;

  c10::Device device_;
  std::int64_t dim_;
  at::Tensor rows_;  // [dim, count]
};

}  // namespace torchclip::libtorch
