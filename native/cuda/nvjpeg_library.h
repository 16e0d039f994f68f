// The few functions of NVIDIA's nvJPEG that are used. The library is opened on first use; nothing links to it, and its
// header is not needed: the values below are part of its ABI.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <string>

namespace torchclip::cuda::nvjpeg {

struct Destination {
  unsigned char* channel[4];
  std::size_t pitch[4];
};

constexpr int kSuccess = 0, kInterleavedRgb = 5, kHardware = 3;  // A status, an output format, a backend.

class Library {
 public:
  // Opens the library; `problem` becomes what is missing, if anything is.
  explicit Library(std::string& problem);

  int (*create)(void** handle) = nullptr;
  int (*destroy)(void* handle) = nullptr;
  int (*create_state)(void* handle, void** state) = nullptr;
  int (*destroy_state)(void* state) = nullptr;
  int (*info)(void* handle, const unsigned char* data, std::size_t length, int* components, int* subsampling,
              int* widths, int* heights) = nullptr;
  int (*decode)(void* handle, void* state, const unsigned char* data, std::size_t length, int format,
                Destination* destination, cudaStream_t stream) = nullptr;

  // Whether the functions that follow are all there; releases before CUDA 12 lack some.
  bool has_engines() const { return has_engines_; }
  int (*create_with)(int backend, void* device_allocator, void* pinned_allocator, unsigned flags,
                     void** handle) = nullptr;
  int (*engines)(void* handle, unsigned* count, unsigned* cores_of_each) = nullptr;
  int (*create_file)(void* handle, void** file) = nullptr;
  int (*destroy_file)(void* file) = nullptr;
  int (*parse_header)(void* handle, const unsigned char* data, std::size_t length, void* file) = nullptr;
  int (*refused)(void* handle, void* file, int* refused) = nullptr;  // *refused becomes 0 if the engines take it.
  int (*start_batch)(void* handle, void* state, int size, int threads, int format) = nullptr;
  int (*decode_batch)(void* handle, void* state, const unsigned char* const* data, const std::size_t* lengths,
                      Destination* destinations, cudaStream_t stream) = nullptr;

 private:
  void* handle_ = nullptr;  // kept for the process
  bool has_engines_ = false;
};

}  // namespace torchclip::cuda::nvjpeg
