// Inner products on a GPU by libtorch's GEMM, for installations without torchclip's own CUDA library. They run behind a
// table of functions (backend/torch_table.h; native/torch implements it).
#pragma once

#include <cstdint>
#include <memory>

#include "backend/torch_table.h"
#include "model/device.h"

namespace torchclip::core {

// Rows in the memory of a device.
class DeviceRows {
 public:
  // Copies float [count, dim] to the device. `table` must outlive the rows.
  DeviceRows(const torchclip_torch_table& table, const Device& device, const float* values, std::int64_t count,
             std::int32_t dim);

  // out[i, j] = queries[i] . row[j]; queries: float [count, dim], out: float [count, rows].
  void inner_products(const float* queries, std::int64_t count, float* out) const;

 private:
  const torchclip_torch_table& table_;
  std::unique_ptr<torchclip_torch_rows, void (*)(torchclip_torch_rows*)> rows_;
};

}  // namespace torchclip::core
