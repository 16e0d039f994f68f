// The GPU as the tests' device; where there is none, the test ends as skipped.
#include <c10/cuda/CUDAFunctions.h>

#include <cstdio>
#include <cstdlib>

#include "gpu.h"
#include "test_device.h"

namespace torchclip::cuda {

std::unique_ptr<Device> test_device(const TestDevice& how) {
  constexpr int kSkipped = 77;
  if (c10::cuda::device_count() == 0) {
    std::printf("skipped: no CUDA device\n");
    std::exit(kSkipped);
  }
  const bool is_as_it_is = how.limit == UINT64_MAX && how.fp8 && how.captures;
  return is_as_it_is ? make_gpu(0, how.tune) : nullptr;
}

bool is_host_device() { return false; }

}  // namespace torchclip::cuda
