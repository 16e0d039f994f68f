// Page-locked memory of the host, which copies beside the GPU's work need.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "cuda_check.h"

namespace torchclip::cuda {

class Pinned {
 public:
  Pinned() = default;
  ~Pinned() { release(); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

  void* grow(std::size_t bytes) {
    if (bytes > bytes_) {
      release();
      check(cudaMallocHost(&data_, bytes), "page-locked memory: out of memory");
      bytes_ = bytes;
    }
    return data_;
  }
  void* data() const { return data_; }

 private:
  void release() {
    if (data_) cudaFreeHost(data_);
    data_ = nullptr;
    bytes_ = 0;
  }

  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Whether the GPU can copy from this memory of the host beside its work.
inline bool is_pinned(const void* data) {
  cudaPointerAttributes attributes{};
  if (cudaPointerGetAttributes(&attributes, data) != cudaSuccess) {
    cudaGetLastError();  // an older driver's answer for memory that it does not know
    return false;
  }
  return attributes.type == cudaMemoryTypeHost;
}

}  // namespace torchclip::cuda
