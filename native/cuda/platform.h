// The platform that a kernel file is compiled for: CUDA by nvcc, or plain C++ with the small emulation of a GPU in
// host_cuda.h, where the tests run every kernel thread by thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "numbers.h"

namespace torchclip::cuda {

struct Grid {
  std::int64_t x = 1, y = 1, z = 1;
};

// Whether the threads of a block synchronise (barriers, shuffles). The host emulation runs independent threads one
// after another.
enum class Threads { independent, together };

}  // namespace torchclip::cuda

#if defined(__CUDACC__)

// Before a loop that nvcc unrolls completely, so that its arrays stay in registers.
#define UNROLL _Pragma("unroll")

#include "cuda_check.h"

namespace torchclip::cuda {

template <Threads, typename Kernel, typename... Arguments>
void launch(Kernel kernel, Grid grid, int threads, std::size_t shared, Stream stream, Arguments... arguments) {
  const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), static_cast<unsigned>(grid.z));
  kernel<<<blocks, threads, shared, static_cast<cudaStream_t>(stream)>>>(arguments...);
  check(cudaGetLastError(), "a CUDA kernel could not be started");
}

}  // namespace torchclip::cuda

#else
#define UNROLL
#include "host_cuda.h"
#endif
