// The GPU as the tests' device; where there is none, the test ends as skipped.
#include <c10/cuda/CUDAFunctions.h>

#include <cstdio>
#include <cstdlib>

#include "gpu.h"
#include "test_device.h"

namespace torchclip::cuda {

std::unique_ptr<Device> test_device(std::uint64_t limit, bool fp8) {
  constexpr int kSkipped = 77;
  if (c10::cuda::device_count() == 0) {
    std::printf("skipped: no CUDA device\n");
    std::exit(kSkipped);
  }
  return limit == UINT64_MAX && fp8 ? make_gpu(0) : nullptr;
}

bool is_host_device() { return false; }

}  // namespace torchclip::cuda
