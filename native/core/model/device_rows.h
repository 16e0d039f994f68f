// Inner products on a GPU by libtorch's GEMM, for installations without torchclip's own CUDA library. native/torch
// implements it.
#pragma once

#include <cstdint>
#include <memory>

#include "model/device.h"

namespace torchclip::core {

// Rows in the memory of a device.
class DeviceRows {
 public:
  virtual ~DeviceRows() = default;
  // out[i, j] = queries[i] . row[j]; queries: float [count, dim], out: float [count, rows].
  virtual void inner_products(const float* queries, std::int64_t count, float* out) const = 0;
};

// Copies float [rows, dim] to the device.
std::unique_ptr<DeviceRows> rows_on_device(const Device& device, const float* rows, std::int64_t count,
                                           std::int32_t dim);

}  // namespace torchclip::core
