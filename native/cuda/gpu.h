// A Device on CUDA: memory from libtorch's caching allocator, matrix multiplication by cuBLASLt, attention by
// libtorch's fused kernels, and passes captured as CUDA graphs.
#pragma once

#include <memory>

#include "device.h"

namespace torchclip::cuda {

// Throws if the device does not exist. With TORCHCLIP_CUDA_GRAPHS=0 no pass is captured. Unless `tune`, or with
// TORCHCLIP_CUDA_TUNE=0, matrix multiplications are not timed and the library's first proposal is used, so that two
// processes get the same bits. With TORCHCLIP_CUDA_PLAIN_MEMORY=1 each allocation is the driver's own, for
// compute-sanitizer.
std::unique_ptr<Device> make_gpu(int index, bool tune = true);

// Returns the cached memory of all devices to the driver.
void free_all_caches();

}  // namespace torchclip::cuda
