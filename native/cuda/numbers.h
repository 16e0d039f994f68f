// The number formats that a GPU multiplies: float32, fp16 and bf16. Rounding is to nearest, ties to even, by
// instructions on the device and by bit operations on the host.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/dtype.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define HOST_DEVICE __host__ __device__ inline
#else
#define HOST_DEVICE inline
#endif

namespace torchclip::cuda {

using Stream = void*;  // A cudaStream_t, so that the interfaces need no CUDA header.

using core::DType;
using core::size_of;

struct Half {
  std::uint16_t bits;
};
struct Bf16 {
  std::uint16_t bits;
};

HOST_DEVICE std::uint32_t bits_of(float x) {
  std::uint32_t b;
  memcpy(&b, &x, 4);
  return b;
}

HOST_DEVICE float float_of(std::uint32_t b) {
  float x;
  memcpy(&x, &b, 4);
  return x;
}

HOST_DEVICE float to_float(float x) { return x; }

HOST_DEVICE float to_float(Bf16 x) { return float_of(static_cast<std::uint32_t>(x.bits) << 16); }

HOST_DEVICE float to_float(Half x) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(x.bits));
#else
  const std::uint32_t sign = static_cast<std::uint32_t>(x.bits & 0x8000) << 16, rest = x.bits & 0x7fff;
  if (rest >= 0x7c00) return float_of(sign | 0x7f800000 | (rest & 0x3ff) << 13);
  // A multiplication by 2^112 moves the exponent and makes a subnormal number normal.
  return float_of(sign | bits_of(float_of(rest << 13) * float_of(0x77800000)));
#endif
}

template <typename T>
HOST_DEVICE T from_float(float x);

template <>
HOST_DEVICE float from_float<float>(float x) {
  return x;
}

template <>
HOST_DEVICE Bf16 from_float<Bf16>(float x) {
#if defined(__CUDA_ARCH__)
  return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
#else
  const std::uint32_t b = bits_of(x);
  if ((b & 0x7fffffff) > 0x7f800000) return {0x7fff};
  return {static_cast<std::uint16_t>((b + 0x7fff + (b >> 16 & 1)) >> 16)};
#endif
}

template <>
HOST_DEVICE Half from_float<Half>(float x) {
#if defined(__CUDA_ARCH__)
  return {__half_as_ushort(__float2half_rn(x))};
#else
  const std::uint32_t b = bits_of(x), sign = b >> 16 & 0x8000, rest = b & 0x7fffffff;
  if (rest > 0x7f800000) return {static_cast<std::uint16_t>(0x7fff)};
  if (rest >= 0x477ff000) return {static_cast<std::uint16_t>(sign | 0x7c00)};  // 65520 and above: infinity.
  std::uint32_t half;
  if (rest < 0x38800000) {  // Below 2^-14: adding 0.5 leaves the rounded multiple of 2^-24 in the lowest bits.
    half = bits_of(float_of(rest) + 0.5f) - 0x3f000000;
  } else {
    half = (rest + 0xfff + (rest >> 13 & 1) - 0x38000000) >> 13;
  }
  return {static_cast<std::uint16_t>(sign | half)};
#endif
}

}  // namespace torchclip::cuda
