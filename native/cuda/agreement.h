// Whether two algorithms give the same results on a device, up to rounding.
#pragma once

#include <cmath>

#include "device.h"
#include "kernels.h"

namespace torchclip::cuda {

// Compares `count` numbers of `dtype` in the device's memory. The algorithms add in different orders, and round each
// result to its type. False if something was NaN or infinite.
inline bool agrees(Device& device, const void* expected, const void* results, DType dtype, std::int64_t count) {
  float difference[2];
  const auto found = device.allocate(sizeof difference);
  device.fill(found.get(), 0, sizeof difference);
  compare(device.stream(), expected, results, dtype, count, static_cast<float*>(found.get()));
  device.download(difference, found.get(), sizeof difference);
  const float tolerance = dtype == DType::f16 ? 4e-3f : dtype == DType::bf16 ? 2e-2f : 1e-4f;
  return std::isfinite(difference[1]) && difference[0] <= tolerance * difference[1];
}

}  // namespace torchclip::cuda
