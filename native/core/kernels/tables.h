// What each file that is compiled for an instruction set gives to the tables of kernels.cpp.
#pragma once

#include "kernels/kernels.h"

namespace torchclip::core {

// What a set of kernels does with nothing but its own instructions.
struct Part {
  ProductKernel floats, bf16, fp16, int8;  // bf16, fp16: widened; fp16 null where that needs F16C
  decltype(Kernels::layerNorm) layerNorm;
  Kernels::Attend attention;
  decltype(Kernels::winogradInput) winogradInput;
  decltype(Kernels::winogradOutput) winogradOutput;
  decltype(Kernels::scan) scan;
  decltype(Kernels::dots) dots;
  decltype(Kernels::byteDots) byteDots;
  Kernels::Widen widenBf16, widenFp16;
};
// What further instructions make faster.
struct FastProduct {
  ProductKernel product;
  Kernels::Attend attention;             // bf16 alone
  decltype(Kernels::byteDots) byteDots;  // int8 alone
  Kernels::Widen widen;                  // fp16 alone
};

extern const Part plain_part, avx2_part, avx512_part;
extern const FastProduct avx2_f16c, avx2_vnni_int8, avx512_vnni_int8, avx512_bf16, amx_bf16, amx_int8;

}  // namespace torchclip::core
