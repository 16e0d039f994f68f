#include "model/device_rows.h"

#include <algorithm>

#include "functions.h"
#include "libtorch.h"

namespace torchclip::libtorch {
namespace {

class TorchRows final : public DeviceRows {
 public:
  TorchRows(const Device& device, const float* rows, std::int64_t count, std::int32_t dim)
      : device_(c10::kCUDA, static_cast<c10::DeviceIndex>(device.index)), dim_(dim) {
    c10::InferenceMode inference;
    rows_ = on_device(rows, count).t();
  }

  void inner_products(const float* queries, std::int64_t count, float* out) const override {
    c10::InferenceMode inference;
    const auto scores = at::mm(on_device(queries, count), rows_).to(c10::kCPU).contiguous();
    std::copy_n(scores.const_data_ptr<float>(), scores.numel(), out);
  }

 private:
  at::Tensor on_device(const float* data, std::int64_t rows) const {
    return at::from_blob(const_cast<float*>(data), {rows, dim_}, at::kFloat).to(device_);
  }

  c10::Device device_;
  std::int64_t dim_;
  at::Tensor rows_;  // [dim, count]
};

}  // namespace

std::unique_ptr<DeviceRows> rows_on_device(const Device& device, const float* rows, std::int64_t count,
                                           std::int32_t dim) {
  return std::make_unique<TorchRows>(device, rows, count, dim);
}

}  // namespace torchclip::libtorch
