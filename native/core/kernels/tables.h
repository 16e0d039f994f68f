// What each file that is compiled for an instruction set gives to the tables of kernels.cpp.
#pragma once

#include "kernels/kernels.h"

namespace torchclip::core {

struct Part {
  Kernels::Multiply floats, pairs;  // pairs: int8 without VNNI
  std::int32_t floatRows, pairRows;
  decltype(Kernels::layerNorm) layerNorm;
  Kernels::Attend attention;
  decltype(Kernels::winogradInput) winogradInput;
  decltype(Kernels::winogradOutput) winogradOutput;
  decltype(Kernels::scan) scan;
  decltype(Kernels::dots) dots;
  decltype(Kernels::byteDots) byteDots;  // without VNNI
};
struct FastProduct {
  Kernels::Multiply multiply;
  std::int32_t rows;
  Kernels::Attend attention;             // bf16 alone
  decltype(Kernels::byteDots) byteDots;  // int8 alone
};

extern const Part avx2_part, avx512_part;
extern const FastProduct avx2_vnni_int8, avx512_vnni_int8, avx512_bf16, amx_bf16, amx_int8;

}  // namespace torchclip::core
