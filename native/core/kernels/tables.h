// The entries that each file compiled for one instruction set adds to the tables of kernels.cpp.
#pragma once

#include "kernels/kernels.h"

namespace torchclip::core {

// The kernels that need only the instruction set of their file.
struct Part {
  ProductKernel products[kPrecisions];  // bf16 and fp16 are widened; fp16 is null if that needs F16C.
  Attend attention;                     // For float32.
  Functions functions;
};
// Kernels that further instructions make faster.
struct FastProduct {
  ProductKernel product;
  Attend attention;                          // bf16 only
  decltype(Functions::int8_dots) int8_dots;  // int8 only
  Widen widen;                               // fp16 only
};

extern const Part plain_part, avx2_part, avx512_part;
extern const FastProduct avx2_f16c, avx2_vnni_int8, avx512_vnni_int8, avx512_bf16, amx_bf16, amx_int8;

}  // namespace torchclip::core
