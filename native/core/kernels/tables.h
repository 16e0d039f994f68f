// What each file that is compiled for an instruction set gives to the tables of kernels.cpp.
#pragma once

#include "kernels/kernels.h"

namespace torchclip::core {

// What a set of kernels does with nothing but its own instructions.
struct Part {
  ProductKernel products[kPrecisions];  // bf16, fp16: widened; fp16 null where that needs F16C
  Attend attention;                     // of float32
  Functions functions;
};
// What further instructions make faster.
struct FastProduct {
  ProductKernel product;
  Attend attention;                        // bf16 alone
  decltype(Functions::int8_dots) int8_dots;  // int8 alone
  Widen widen;                             // fp16 alone
};

extern const Part plain_part, avx2_part, avx512_part;
extern const FastProduct avx2_f16c, avx2_vnni_int8, avx512_vnni_int8, avx512_bf16, amx_bf16, amx_int8;

}  // namespace torchclip::core
