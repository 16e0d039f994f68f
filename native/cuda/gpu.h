// A Device on CUDA: memory from libtorch's caching allocator, products by cuBLASLt, attention by libtorch's fused
// kernels, passes recorded as CUDA graphs.
#pragma once

#include <memory>

#include "device.h"

namespace torchclip::cuda {

// Throws where the device is not there. TORCHCLIP_CUDA_GRAPHS=0: nothing is recorded; TORCHCLIP_CUDA_TUNE=0: products
// are not timed, the library's first proposal is taken.
std::unique_ptr<Device> make_gpu(int index);

// Gives cached memory of all devices back to the driver.
void free_all_caches();

// Time between two points of a stream.
class Timer {
 public:
  explicit Timer(Stream stream);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void begin();
  float end();  // waits; milliseconds since begin()

 private:
  Stream stream_;
  void *first_ = nullptr, *last_ = nullptr;  // cudaEvent_t
};

}  // namespace torchclip::cuda
