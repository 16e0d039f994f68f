// What the files of kernels share: types of numbers, loads of several numbers, threads and their sums.
#pragma once

#include "numbers.h"
#include "platform.h"

namespace torchclip::cuda {

constexpr int kBlock = 256;
constexpr int kWarp = 32;
constexpr int kRowsOfBlock = 8;  // a warp for each

// N numbers that are loaded and stored together.
template <typename T, int N>
struct alignas(sizeof(T) * static_cast<std::size_t>(N)) Pack {
  T v[static_cast<std::size_t>(N)];
};

template <typename T, int N>
__device__ Pack<T, N> load(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <typename T, int N>
__device__ void store(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// N numbers, N a multiple of 4 or 1: loads of 16 bytes, whose alignment is enough.
template <int N>
__device__ Pack<float, N> load_floats(const float* from) {
  if constexpr (N % 4 != 0) {
    return load<float, N>(from);
  } else {
    Pack<float, N> pack;
    UNROLL
    for (int i = 0; i < N; i += 4) {
      const auto four = load<float, 4>(from + i);
      UNROLL
      for (int j = 0; j < 4; ++j) pack.v[i + j] = four.v[j];
    }
    return pack;
  }
}

// Numbers as they are stored; scale: of E4M3 alone.
template <typename T, int N>
__device__ Pack<T, N> converted(const Pack<float, N>& x, float scale) {
  Pack<T, N> out;
  UNROLL
  for (int j = 0; j < N; ++j) {
    if constexpr (sizeof(T) == 1) {
      out.v[j] = from_float<T>(x.v[j] * scale);
    } else {
      out.v[j] = from_float<T>(x.v[j]);
    }
  }
  return out;
}

// work(T{}) with the type that `dtype` names.
template <typename Work>
void typed(DType dtype, Work&& work) {
  switch (dtype) {
    case DType::f32:
      return work(float{});
    case DType::f16:
      return work(Half{});
    case DType::bf16:
      return work(Bf16{});
    case DType::s8:
    case DType::e4m3:
      break;  // No kernel takes int8, and those of E4M3 are called by their type.
  }
}

__device__ inline float sum_of_warp(float x) {
  UNROLL
  for (int lane = kWarp / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
  return x;
}

__device__ inline int thread_of_block() { return static_cast<int>(threadIdx.x); }

__device__ inline std::int64_t thread_of_grid() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

inline std::int64_t blocks_for(std::int64_t work, std::int64_t each) { return (work + each - 1) / each; }

}  // namespace torchclip::cuda
