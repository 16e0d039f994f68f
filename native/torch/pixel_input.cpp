#include "pixel_input.h"

#include <algorithm>

namespace torchclip::libtorch {

PixelInput::PixelInput(const float* values, std::int64_t image_size, c10::Device device)
    : image_size_(image_size), device_(device) {
  for (std::size_t c = 0; c < values_.size(); ++c) std::copy_n(values + 256 * c, 256, values_[c].begin());
}

at::Tensor PixelInput::of(const std::uint8_t* pixels, std::int64_t rows, c10::ScalarType dtype) const {
  return device_.is_cpu() ? on_cpu(pixels, rows).to(dtype) : on_device(pixels, rows, dtype);
}

// A quarter of the bytes to copy, and the same arithmetic there.
at::Tensor PixelInput::on_device(const std::uint8_t* pixels, std::int64_t rows, c10::ScalarType dtype) const {
  const std::int64_t side = image_size_;
  auto batch = at::from_blob(const_cast<std::uint8_t*>(pixels), {rows, side, side, 3}, at::kByte)
                   .to(device_)
                   .permute({0, 3, 1, 2});
  auto out = at::empty({rows, 3, side, side}, at::TensorOptions(dtype).device(device_));
  for (std::size_t c = 0; c < values_.size(); ++c) {
    const auto values = at::from_blob(const_cast<float*>(values_[c].data()), {256}, at::kFloat).to(device_);
    const auto channel = static_cast<std::int64_t>(c);
    out.select(1, channel)
        .copy_(values.index_select(0, batch.select(1, channel).reshape({-1}).to(at::kInt)).view({rows, side, side}));
  }
  return out;
}

at::Tensor PixelInput::on_cpu(const std::uint8_t* pixels, std::int64_t rows) const {
  const std::int64_t side = image_size_, plane = side * side;
  auto input = at::empty({rows, 3, side, side}, at::kFloat);
  float* to = input.mutable_data_ptr<float>();
  at::parallel_for(0, rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::uint8_t* from = pixels + r * plane * 3;
      float* row = to + r * plane * 3;
      for (std::int64_t i = 0; i < plane; ++i) {
        for (std::int64_t c = 0; c < 3; ++c) {
          row[c * plane + i] = values_[static_cast<std::size_t>(c)][from[3 * i + c]];
        }
      }
    }
  });
  return input;
}

}  // namespace torchclip::libtorch
