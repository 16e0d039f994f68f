// The number formats that a GPU multiplies: float32, fp16, bf16 and FP8 (E4M3). Rounding is to nearest, ties to even,
// by instructions on the device and by bit operations on the host.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/dtype.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
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
// A sign, 4 bits of exponent (bias 7) and 3 of mantissa: up to 448 in steps of 2^-9 or more. There is no infinity, and
// 0x7f is NaN.
struct E4m3 {
  std::uint8_t bits;
};
constexpr float kE4m3Max = 448;

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

HOST_DEVICE float to_float(E4m3 x) {
  const std::uint32_t sign = (x.bits & 0x80u) << 24, rest = x.bits & 0x7fu;
  if (rest == 0x7f) return float_of(sign | 0x7fc00000);
  // A multiplication by 2^120 moves the exponent and makes a subnormal number normal.
  return float_of(sign | bits_of(float_of(rest << 20) * float_of(0x7b800000)));
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

// What is above 448, infinity too, becomes 448.
template <>
HOST_DEVICE E4m3 from_float<E4m3>(float x) {
#if defined(__CUDA_ARCH__)
  return {__nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3)};
#else
  const std::uint32_t b = bits_of(x), sign = b >> 24 & 0x80, rest = b & 0x7fffffff;
  if (rest > 0x7f800000) return {0x7f};
  if (rest >= 0x43e00000) return {static_cast<std::uint8_t>(sign | 0x7e)};
  std::uint32_t number;
  if (rest < 0x3c800000) {  // Below 2^-6: adding 2^14 leaves the rounded multiple of 2^-9 in the lowest bits.
    number = bits_of(float_of(rest) + 16384.0f) - 0x46800000;
  } else {
    number = (rest + 0x7ffff + (rest >> 20 & 1) - 0x3c000000) >> 20;
  }
  return {static_cast<std::uint8_t>(sign | number)};
#endif
}

}  // namespace torchclip::cuda
