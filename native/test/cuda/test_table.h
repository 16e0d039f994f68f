// The table of the CUDA library with models on the tests' device, as the core takes it.
#pragma once

#include <cstdint>

#include "backend/cuda_table.h"

namespace torchclip::cuda {

// The next models have at most `bytes` of the device's memory.
const torchclip_cuda_table& test_table(std::uint64_t bytes);

}  // namespace torchclip::cuda
