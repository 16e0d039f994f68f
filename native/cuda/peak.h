// A device's own speed at matrix products, measured: what a model's share is counted by.
#pragma once

#include <cstdint>

#include "device.h"

namespace torchclip::cuda {

// FLOP/s of side x side x side products of bf16 random numbers, the best of three rounds of ten.
double gemm_peak(Device& device, std::int64_t side = 8192);

}  // namespace torchclip::cuda
