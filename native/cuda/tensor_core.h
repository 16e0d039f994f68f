// Matrix products of a warp on tensor cores, by PTX's instructions mma of Ampere and later: fp16 and bf16 with float32
// sums, int8 with int32 sums, float64.
#pragma once

#include <cstdint>

#include "numbers.h"
#include "platform.h"

namespace torchclip::cuda {

// c [16, 8] += a [16, 16] b [16, 8], spread over the lanes of a warp as PTX's ISA says (section "Matrix fragments for
// mma.m16n8k16"), with g = lane / 4 and t = 2 (lane % 4):
//   a: the pairs (row, column) = (g, t), (g + 8, t), (g, t + 8), (g + 8, t + 8), each with the next column
//   b: the pairs (t, g) and (t + 8, g), each with the next row
//   c: (g, t), (g, t + 1), (g + 8, t), (g + 8, t + 1)
template <typename T>
__device__ void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]);

// c [16, 8] += a [16, 32] b [32, 8] of int8, four in a word (mma.m16n8k32), with g = lane / 4 and t = lane % 4:
//   a: the words of (row, first column) = (g, 4 t), (g + 8, 4 t), (g, 4 t + 16), (g + 8, 4 t + 16)
//   b: the words of (first row, column) = (4 t, g), (4 t + 16, g)
//   c: (g, 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1)
__device__ inline void multiply_add_int8(int (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]);

// c [8, 8] += a [8, 4] b [4, 8] of float64 (mma.m8n8k4), with g and t as above:
//   a: (g, t), b: (t, g), c: (g, 2 t), (g, 2 t + 1)
__device__ inline void multiply_add_f64(double (&c)[2], double a, double b);

#if defined(__CUDACC__)

template <>
__device__ inline void multiply_add<Bf16>(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

template <>
__device__ inline void multiply_add<Half>(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// Older GPUs, for which the kernels can be compiled too, give each other the fragments.
__device__ inline void multiply_add_int8(int (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  const int lane = static_cast<int>(threadIdx.x) % 32, row = lane / 4 * 4, column = lane % 4 * 8;
  UNROLL
  for (int word = 0; word < 8; ++word) {
    const int half = word / 4, from = word % 4;
    const int upper = static_cast<int>(__shfl_sync(0xffffffffu, a[2 * half], row + from));
    const int lower = static_cast<int>(__shfl_sync(0xffffffffu, a[2 * half + 1], row + from));
    const int left = static_cast<int>(__shfl_sync(0xffffffffu, b[half], column + from));
    const int right = static_cast<int>(__shfl_sync(0xffffffffu, b[half], column + 4 + from));
    c[0] = __dp4a(upper, left, c[0]);
    c[1] = __dp4a(upper, right, c[1]);
    c[2] = __dp4a(lower, left, c[2]);
    c[3] = __dp4a(lower, right, c[3]);
  }
#endif
}

__device__ inline void multiply_add_f64(double (&c)[2], double a, double b) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};"
               : "+d"(c[0]), "+d"(c[1])
               : "d"(a), "d"(b));
#else
  const int lane = static_cast<int>(threadIdx.x) % 32, row = lane / 4 * 4, column = lane % 4 * 8;
  UNROLL
  for (int k = 0; k < 4; ++k) {
    const double x = __shfl_sync(0xffffffffu, a, row + k);
    c[0] = fma(x, __shfl_sync(0xffffffffu, b, column + k), c[0]);
    c[1] = fma(x, __shfl_sync(0xffffffffu, b, column + 4 + k), c[1]);
  }
#endif
}

#else

// What one lane gives to a product.
struct Fragments {
  std::uint32_t a[4], b[2];
};

template <typename T>
float half_of(std::uint32_t pair, int which) {
  return to_float(T{static_cast<std::uint16_t>(pair >> (16 * which))});
}

template <typename T>
void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  const auto lanes = host::Block::current_block()->gather(Fragments{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}});
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
    for (int k = 0; k < 16; ++k) {
      const auto& left = lanes[static_cast<std::size_t>(row % 8 * 4 + k % 8 / 2)];
      const auto& right = lanes[static_cast<std::size_t>(column * 4 + k % 8 / 2)];
      c[i] += half_of<T>(left.a[row / 8 + 2 * (k / 8)], k % 2) * half_of<T>(right.b[k / 8], k % 2);
    }
  }
}

inline void multiply_add_int8(int (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  const auto lanes = host::Block::current_block()->gather(Fragments{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}});
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
    for (int word = 0; word < 8; ++word) {
      const auto& left = lanes[static_cast<std::size_t>(row % 8 * 4 + word % 4)];
      const auto& right = lanes[static_cast<std::size_t>(column * 4 + word % 4)];
      c[i] = __dp4a(static_cast<int>(left.a[row / 8 + 2 * (word / 4)]), static_cast<int>(right.b[word / 4]), c[i]);
    }
  }
}

inline void multiply_add_f64(double (&c)[2], double a, double b) {
  const auto lanes = host::Block::current_block()->gather(std::array<double, 2>{a, b});
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = 0; i < 2; ++i) {
    for (int k = 0; k < 4; ++k) {
      const double left = lanes[static_cast<std::size_t>(lane / 4 * 4 + k)][0];
      const double right = lanes[static_cast<std::size_t>((2 * (lane % 4) + i) * 4 + k)][1];
      c[i] += left * right;
    }
  }
}

#endif

}  // namespace torchclip::cuda
