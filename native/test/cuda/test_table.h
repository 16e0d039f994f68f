// The table of the CUDA library with models and rows on the tests' device, as the core takes it.
#pragma once

#include <cstdint>

#include "backend/cuda_table.h"

namespace torchclip::cuda {

// The next models and rows have at most `bytes` of the device's memory, and a device with or without FP8. From 256 rows
// on, their int8 copy is searched.
const torchclip_cuda_table& test_table(std::uint64_t bytes, bool fp8 = true);
// Whether the rows that were made last are still there.
bool has_test_rows();

}  // namespace torchclip::cuda
