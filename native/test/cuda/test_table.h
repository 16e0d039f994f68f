// The table of the CUDA library with models on the tests' device, as the core takes it.
#pragma once

#include <cstdint>

#include "backend/cuda_table.h"

namespace torchclip::cuda {

// The next models have at most `bytes` of the device's memory, and a device with or without FP8.
const torchclip_cuda_table& test_table(std::uint64_t bytes, bool fp8 = true);

}  // namespace torchclip::cuda
