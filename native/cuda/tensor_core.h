// Matrix products of a warp on tensor cores: PTX's mma.m16n8k16 for fp16 and bf16, with float32 sums.
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

#endif

}  // namespace torchclip::cuda
