// The entries that each file compiled for one instruction set adds to the tables of kernels.cpp.
#pragma once

#include "kernels/kernels.h"

namespace torchclip::core {

// The kernels that need only the instruction set of their file.
struct IsaKernels {
  GemmKernel gemms[kPrecisions];  // bf16 and fp16 are widened; fp16 is null if that needs F16C.
  Attend attention;               // For float32.
  Functions functions;
};
// Kernels that further instructions make faster.
struct DTypeKernels {
  GemmKernel gemm;
  Attend attention;                          // bf16 only
  decltype(Functions::int8_dots) int8_dots;  // int8 only
  Widen widen;                               // fp16 only
};

extern const IsaKernels plain_kernels, avx2_kernels, avx512_kernels;
extern const DTypeKernels avx2_f16c, avx2_vnni_int8, avx512_vnni_int8, avx512_bf16, amx_bf16, amx_int8;
extern const IsaKernels neon_kernels;
extern const DTypeKernels neon_dot_int8, neon_i8mm_int8, neon_bf16;

}  // namespace torchclip::core
