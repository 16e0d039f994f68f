// The table of the CUDA library with models and rows on the tests' device, as the core takes it.
#pragma once

#include "backend/cuda_table.h"
#include "test_device.h"

namespace torchclip::cuda {

// The next models and rows have a device like `how`, whose GEMMs are timed unless the model is deterministic. From 256
// rows on, their int8 copy is searched.
const torchclip_cuda_table& test_table(const TestDevice& how = {});
// Whether the rows that were made last are still there.
bool has_test_rows();

}  // namespace torchclip::cuda
