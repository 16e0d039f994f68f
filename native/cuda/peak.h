// Measures a device's own matrix multiplication speed, which a model's share of peak refers to.
#pragma once

#include <cstdint>

#include "device.h"

namespace torchclip::cuda {

// Returns the FLOP/s of side x side x side multiplications of random bf16 numbers, the best of three rounds of ten.
double gemm_peak(Device& device, std::int64_t side = 8192);

}  // namespace torchclip::cuda
