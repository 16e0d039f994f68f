// The inputs of products as their layers take them: in the model's 16 or 32 bits, or as E4M3 with one scale for all
// numbers of a product's input.
//
// The scales come from a calibration: while a model calibrates, each input is first computed in bf16, and the scale of
// its layer is raised so that E4M3 holds the largest number kHeadroom times. A scale is a power of two, so that it
// changes no digit, and that the last bits of a calibration do not matter.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels.h"
#include "layers.h"

namespace torchclip::cuda {

// How many times the largest number of a calibration an input may be. E4M3 has 18 powers of two with their subnormal
// numbers, so that this costs no digits of numbers that matter.
constexpr float kHeadroom = 2;

// The least power of two with which numbers up to `largest` are no more than kE4m3Max after a division; 1 where
// `largest` is 0 or no finite number.
inline float e4m3_scale(float largest) {
  if (!(largest > 0) || !std::isfinite(largest)) return 1;
  constexpr int kMostExponent = 60;  // The reciprocals, and products of two scales, are float32, too.
  int exponent = 0;
  const float digits = std::frexp(largest / kE4m3Max, &exponent);  // 0.5 to 1
  if (digits == 0.5f) --exponent;
  return std::ldexp(1.0f, std::clamp(exponent, -kMostExponent, kMostExponent));
}

// The largest magnitude of `count` numbers of bf16 on the device; NaN where one is NaN.
inline float largest_magnitude(Device& device, const void* numbers, std::int64_t count) {
  float found[2];  // no difference, and the magnitude
  const auto memory = device.allocate(sizeof found);
  device.fill(memory.get(), 0, sizeof found);
  compare(device.stream(), numbers, numbers, DType::bf16, count, static_cast<float*>(memory.get()));
  device.download(found, memory.get(), sizeof found);
  return found[1];
}

// `rows` rows of bf16 numbers as the input of a layer: themselves, or quantised where the layer is E4M3.
inline const void* quantized(Device& device, Workspace& workspace, Linear& layer, Workspace::Name name,
                             std::int64_t rows, const void* numbers) {
  if (layer.dtype != DType::e4m3) return numbers;
  const std::int64_t count = rows * layer.inner;
  if (workspace.calibrating()) {
    const float largest = largest_magnitude(device, numbers, count);
    layer.input_scale = std::max(layer.input_scale, e4m3_scale(kHeadroom * largest));
  }
  void* out = workspace.grow(name, count);
  quantize(device.stream(), numbers, count, {DType::e4m3, 1 / layer.input_scale}, out);
  return out;
}

// Lets `write(format, out)` write `rows` rows of the input of a layer, in its number format, and returns them.
template <typename Write>
const void* written(Device& device, Workspace& workspace, Linear& layer, Workspace::Name name, std::int64_t rows,
                    Write&& write) {
  const std::int64_t count = rows * layer.inner;
  if (layer.dtype == DType::e4m3 && workspace.calibrating()) {
    void* numbers = workspace.grow(Workspace::kUnquantized, count * size_of(DType::bf16));
    write(NumberFormat{DType::bf16, 1}, numbers);
    return quantized(device, workspace, layer, name, rows, numbers);
  }
  void* out = workspace.grow(name, count * size_of(layer.dtype));
  write(NumberFormat{layer.dtype, 1 / layer.input_scale}, out);
  return out;
}

}  // namespace torchclip::cuda
