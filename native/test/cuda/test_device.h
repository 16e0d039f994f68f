// The device that the CUDA tests run on: the GPU where they are built for it, else its model on the host.
#pragma once

#include <cstdint>
#include <memory>

#include "device.h"

namespace torchclip::cuda {

// With a limit of bytes, or without FP8, it is null where the device is what it is: a GPU.
std::unique_ptr<Device> test_device(std::uint64_t limit = UINT64_MAX, bool fp8 = true);

// Whether the device is the host's model of a GPU. Its results do not depend on the other rows of a pass; a GPU
// computes another shape by another algorithm, which adds in another order.
bool is_host_device();

}  // namespace torchclip::cuda
