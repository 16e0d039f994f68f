// The device that the CUDA tests run on: the GPU where they are built for it, else its model on the host.
#pragma once

#include <cstdint>
#include <memory>

#include "device.h"

namespace torchclip::cuda {

struct TestDevice {
  std::uint64_t limit = UINT64_MAX;  // bytes
  bool fp8 = true;                   // Whether it multiplies E4M3.
  bool tune = true;                  // Whether GEMMs are timed.
  bool captures = true;              // Whether it captures passes; otherwise every capture is refused.
};

// Null where the device is a GPU, which is asked for another limit, without FP8 or without captures.
std::unique_ptr<Device> test_device(const TestDevice& how = {});
inline std::unique_ptr<Device> test_device(std::uint64_t limit) { return test_device(TestDevice{limit}); }

// Whether the device is the host's model of a GPU. Its results do not depend on the other rows of a pass; a GPU
// computes another shape by another algorithm, which adds in another order.
bool is_host_device();

}  // namespace torchclip::cuda
