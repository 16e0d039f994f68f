#include "kernels.h"

#include <algorithm>

#include "arithmetic.h"
#include "device_code.h"

namespace torchclip::cuda {
namespace {

constexpr std::int64_t kCompareBlocks = 1024;

template <typename T>
__global__ void fill_values_kernel(std::int64_t count, T* out) {
  const std::int64_t i = thread_of_grid();
  if (i < count) out[i] = from_float<T>(value_at(i));
}

// The bits of a float without its sign. They have the order of the magnitudes, and those of NaN are the largest.
__device__ std::uint32_t magnitude_bits(float x) { return bits_of(x) & 0x7fffffffu; }

// Raises *to to the largest magnitude that the lanes of a warp hold as bits.
__device__ void raise_by_warp(float* to, std::uint32_t bits) {
  UNROLL
  for (int lane = kWarp / 2; lane > 0; lane /= 2) {
    const std::uint32_t other = bits_of(__shfl_xor_sync(0xffffffffu, float_of(bits), lane));
    bits = other > bits ? other : bits;
  }
  if (thread_of_block() % kWarp == 0) atomicMax(reinterpret_cast<unsigned*>(to), bits);
}

template <typename T>
__global__ void compare_kernel(const T* a, const T* b, std::int64_t count, std::int64_t threads, float* difference) {
  std::uint32_t apart = 0, largest = 0;
  for (std::int64_t i = thread_of_grid(); i < count; i += threads) {
    const float x = to_float(a[i]), y = to_float(b[i]);
    const std::uint32_t distance = x == y ? 0 : magnitude_bits(x - y);
    apart = distance > apart ? distance : apart;
    largest = magnitude_bits(x) > largest ? magnitude_bits(x) : largest;
  }
  raise_by_warp(difference, apart);
  raise_by_warp(difference + 1, largest);
}

}  // namespace

void fill_values(Stream stream, DType dtype, std::int64_t count, void* out) {
  const auto fill = [&](auto type) {
    using T = decltype(type);
    launch<Threads::independent>(fill_values_kernel<T>, {blocks_for(count, kBlock)}, kBlock, 0, stream, count,
                                 static_cast<T*>(out));
  };
  if (dtype == DType::e4m3) return fill(E4m3{});
  typed(dtype, fill);
}

void compare(Stream stream, const void* a, const void* b, DType dtype, std::int64_t count, float* difference) {
  typed(dtype, [&](auto type) {
    using T = decltype(type);
    const std::int64_t blocks = std::min<std::int64_t>(blocks_for(count, kBlock), kCompareBlocks);
    launch<Threads::together>(compare_kernel<T>, {blocks}, kBlock, 0, stream, static_cast<const T*>(a),
                              static_cast<const T*>(b), count, blocks * kBlock, difference);
  });
}

}  // namespace torchclip::cuda
