// Images as a tower takes them: bytes become numbers by a table, rows become planes.
#pragma once

#include <array>
#include <cstdint>

#include "libtorch.h"

namespace torchclip::libtorch {

class PixelInput {
 public:
  // values: float [3, 256], what each byte of each channel becomes; image_size: side of the square input, pixels.
  PixelInput(const float* values, std::int64_t image_size, c10::Device device);

  // pixels: uint8 [rows, S, S, 3]. Returns [rows, 3, S, S] of type `dtype` on the device.
  at::Tensor of(const std::uint8_t* pixels, std::int64_t rows, c10::ScalarType dtype) const;

 private:
  at::Tensor on_cpu(const std::uint8_t* pixels, std::int64_t rows) const;
  at::Tensor on_device(const std::uint8_t* pixels, std::int64_t rows, c10::ScalarType dtype) const;

  std::array<std::array<float, 256>, 3> values_;
  std::int64_t image_size_;
  c10::Device device_;
};

}  // namespace torchclip::libtorch
