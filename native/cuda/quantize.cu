#include "kernels.h"

#include "arithmetic.h"
#include "device_code.h"

namespace torchclip::cuda {
namespace {

constexpr int kPack = 16;  // numbers of a thread: two loads of bf16, one store of E4M3

__device__ Pack<float, kPack> load_bf16(const Bf16* from) {
  Pack<float, kPack> out;
  UNROLL
  for (int half = 0; half < 2; ++half) {
    const auto eight = load<Bf16, kPack / 2>(from + half * (kPack / 2));
    UNROLL
    for (int j = 0; j < kPack / 2; ++j) out.v[half * (kPack / 2) + j] = to_float(eight.v[j]);
  }
  return out;
}

template <typename T>
__device__ void store_as(T* to, const Pack<float, kPack>& x, float scale) {
  constexpr int N = 16 / sizeof(T);
  UNROLL
  for (int i = 0; i < kPack; i += N) {
    Pack<float, N> part;
    UNROLL
    for (int j = 0; j < N; ++j) part.v[j] = x.v[i + j];
    store<T, N>(to + i, converted<T>(part, scale));
  }
}

__global__ void quantize_kernel(const Bf16* x, std::uint32_t packs, float scale, E4m3* out) {
  const std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= packs) return;
  const std::int64_t at = static_cast<std::int64_t>(i) * kPack;
  store_as<E4m3>(out + at, load_bf16(x + at), scale);
}

// row_packs: the threads of a row.
template <Activation A, typename T>
__global__ void bias_activation_to_kernel(const Bf16* x, std::uint32_t packs, std::uint32_t row_packs,
                                          const float* bias, float scale, T* out) {
  const std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= packs) return;
  const std::int64_t at = static_cast<std::int64_t>(i) * kPack;
  auto pack = load_bf16(x + at);
  const auto biases = load_floats<kPack>(bias + std::int64_t{i % row_packs} * kPack);
  UNROLL
  for (int j = 0; j < kPack; ++j) pack.v[j] = activate<A, true>(pack.v[j] + biases.v[j]);
  store_as<T>(out + at, pack, scale);
}

}  // namespace

void quantize(Stream stream, const void* x, std::int64_t count, const NumberFormat& format, void* out) {
  const std::int64_t packs = count / kPack;
  launch<Threads::independent>(quantize_kernel, {blocks_for(packs, kBlock)}, kBlock, 0, stream,
                               static_cast<const Bf16*>(x), static_cast<std::uint32_t>(packs), format.scale,
                               static_cast<E4m3*>(out));
}

template <Activation A>
static void bias_activation_to_of(Stream stream, const void* x, std::int64_t rows, std::int64_t columns,
                                  const float* bias, const NumberFormat& format, void* out) {
  const std::int64_t packs = rows * columns / kPack;
  const auto run = [&](auto type) {
    using T = decltype(type);
    launch<Threads::independent>(bias_activation_to_kernel<A, T>, {blocks_for(packs, kBlock)}, kBlock, 0, stream,
                                 static_cast<const Bf16*>(x), static_cast<std::uint32_t>(packs),
                                 static_cast<std::uint32_t>(columns / kPack), bias, format.scale, static_cast<T*>(out));
  };
  if (format.dtype == DType::e4m3) {
    run(E4m3{});
  } else {
    run(Bf16{});
  }
}

void bias_activation_to(Stream stream, const void* x, std::int64_t rows, std::int64_t columns, const float* bias,
                        Activation activation, const NumberFormat& format, void* out) {
  with_activation(activation, [&](auto a) {
    bias_activation_to_of<decltype(a)::value>(stream, x, rows, columns, bias, format, out);
  });
}

}  // namespace torchclip::cuda
