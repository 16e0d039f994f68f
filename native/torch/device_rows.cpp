#include "device_rows.h"

#include <algorithm>

namespace torchclip::libtorch {

DeviceRows::DeviceRows(int cuda_device, const float* values, std::int64_t count, std::int32_t dim)
    : device_(c10::kCUDA, static_cast<c10::DeviceIndex>(cuda_device)), dim_(dim) {
  c10::InferenceMode inference;
  rows_ = on_device(values, count).t();
}

void DeviceRows::inner_products(const float* queries, std::int64_t count, float* out) const {
  c10::InferenceMode inference;
  const auto scores = at::mm(on_device(queries, count), rows_).to(c10::kCPU).contiguous();
  std::copy_n(scores.const_data_ptr<float>(), scores.numel(), out);
}

at::Tensor DeviceRows::on_device(const float* data, std::int64_t rows) const {
  return at::from_blob(const_cast<float*>(data), {rows, dim_}, at::kFloat).to(device_);
}

}  // namespace torchclip::libtorch
