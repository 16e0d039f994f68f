#include "kernels.h"

#include "arithmetic.h"
#include "device_code.h"

namespace torchclip::cuda {
namespace {

constexpr std::uint32_t kPatchPacks = 4;  // packs of a thread

// A thread for some packs of neighbouring elements of the output; row_packs: those of an output row.
template <typename T>
__global__ void patches_kernel(const std::uint8_t* pixels, std::uint32_t packs, std::uint32_t row_packs,
                               PatchShape shape, const float* table, T* out) {
  __shared__ float values[3 * 256];
  for (int i = thread_of_block(); i < 3 * 256; i += static_cast<int>(blockDim.x)) values[i] = table[i];
  __syncthreads();
  constexpr std::uint32_t N = 16 / sizeof(T);
  const std::uint32_t first = blockIdx.x * blockDim.x * kPatchPacks + threadIdx.x;
  for (std::uint32_t k = 0; k < kPatchPacks; ++k) {
    const std::uint32_t i = first + k * blockDim.x;
    if (i >= packs) return;
    PatchWalk at(shape, i / row_packs, i % row_packs * N);
    Pack<T, static_cast<int>(N)> pack;
    UNROLL
    for (std::uint32_t j = 0; j < N; ++j, at.next()) {
      pack.v[j] = from_float<T>(at.is_padding() ? 0.0f : values[at.channel() * 256 + pixels[at.byte()]]);
    }
    store<T, static_cast<int>(N)>(out + static_cast<std::int64_t>(i) * N, pack);
  }
}

// A warp normalises a row that `value(i)` (four numbers from column i on) reads and `keep(i, numbers)` takes. N: groups
// of four that a lane holds; 0: read again each time.
template <int N, typename Read, typename Write>
__device__ void normalize_row(std::int64_t width, const NormWeights& norm, Read&& read, Write&& write) {
  constexpr std::size_t kHeld = N > 0 ? static_cast<std::size_t>(N) : 1;
  Pack<float, 4> held[kHeld];
  const int lane = thread_of_block() % kWarp;
  const auto each = [&](auto&& work) {
    if constexpr (N > 0) {
      UNROLL
      for (int n = 0; n < N; ++n) {
        const std::int64_t i = (static_cast<std::int64_t>(n) * kWarp + lane) * 4;
        if (i < width) work(i, held[n]);
      }
    } else {
      for (std::int64_t i = lane * 4; i < width; i += kWarp * 4) {
        held[0] = read(i);
        work(i, held[0]);
      }
    }
  };
  if constexpr (N > 0) each([&](std::int64_t i, Pack<float, 4>& x) { x = read(i); });
  float mean = 0, scale = 1;
  if (norm.gamma) {
    float sum = 0;
    each([&](std::int64_t, Pack<float, 4>& x) { sum += (x.v[0] + x.v[1]) + (x.v[2] + x.v[3]); });
    mean = sum_of_warp(sum) / static_cast<float>(width);
    float squares = 0;
    each([&](std::int64_t, Pack<float, 4>& x) {
      UNROLL
      for (float v : x.v) squares += (v - mean) * (v - mean);
    });
    scale = 1.0f / sqrtf(sum_of_warp(squares) / static_cast<float>(width) + norm.eps);
  }
  each([&](std::int64_t i, Pack<float, 4>& x) {
    if (norm.gamma) {
      const auto gamma = load<float, 4>(norm.gamma + i);
      Pack<float, 4> beta{};
      if (norm.beta) beta = load<float, 4>(norm.beta + i);
      UNROLL
      for (int j = 0; j < 4; ++j) x.v[j] = (x.v[j] - mean) * scale * gamma.v[j] + beta.v[j];
    }
    write(i, x);
  });
}

template <int N, typename T>
__global__ void layer_norm_kernel(const float* x, std::int64_t stride, const std::int32_t* index, std::int64_t rows,
                                  std::int64_t width, NormWeights norm, T* out) {
  const std::int64_t row = thread_of_grid() / kWarp;
  if (row >= rows) return;  // a whole warp
  const float* from = x + (index ? index[row] : row) * stride;
  T* to = out + row * width;
  normalize_row<N>(
      width, norm, [&](std::int64_t i) { return load<float, 4>(from + i); },
      [&](std::int64_t i, const Pack<float, 4>& y) { store<T, 4>(to + i, converted<T>(y, 1)); });
}

__device__ void add_delta(Pack<float, 4>& x, const Bf16* delta, std::int64_t at) {
  if (!delta) return;
  const auto more = load<Bf16, 4>(delta + at);
  UNROLL
  for (int j = 0; j < 4; ++j) x.v[j] += to_float(more.v[j]);
}

template <int N, typename T>
__global__ void add_norm_kernel(float* x, Deltas deltas, bool stores, std::int64_t rows, std::int64_t width,
                                NormWeights norm, float scale, T* out) {
  const std::int64_t row = thread_of_grid() / kWarp;
  if (row >= rows) return;  // a whole warp
  const std::int64_t begin = row * width;
  const auto sum_at = [&](std::int64_t i) {
    auto sum = load<float, 4>(x + begin + i);
    add_delta(sum, deltas.first, begin + i);
    add_delta(sum, deltas.second, begin + i);
    return sum;
  };
  normalize_row<N>(
      width, norm,
      [&](std::int64_t i) {
        const auto sum = sum_at(i);
        if (N > 0 && stores) store<float, 4>(x + begin + i, sum);
        return sum;
      },
      [&](std::int64_t i, const Pack<float, 4>& y) {
        if (out) store<T, 4>(out + begin + i, converted<T>(y, scale));
      });
  if constexpr (N == 0) {  // A row that is not held was read several times: its sum is stored last.
    if (!stores) return;
    for (std::int64_t i = thread_of_block() % kWarp * 4; i < width; i += kWarp * 4) {
      store<float, 4>(x + begin + i, sum_at(i));
    }
  }
}

template <int N>
__global__ void assemble_kernel(const float* embedded, const float* positions, const float* token, std::int64_t rows,
                                std::int64_t patches, std::int64_t width, NormWeights norm, float* x) {
  const std::int64_t extra = token ? 1 : 0, length = patches + extra, row = thread_of_grid() / kWarp;
  if (row >= rows * length) return;
  const std::int64_t place = row % length - extra, image = row / length;
  float* to = x + row * width;
  normalize_row<N>(
      width, norm,
      [&](std::int64_t i) {
        if (place < 0) return load<float, 4>(token + i);
        auto sum = load<float, 4>(embedded + (image * patches + place) * width + i);
        const auto position = load<float, 4>(positions + place * width + i);
        UNROLL
        for (int j = 0; j < 4; ++j) sum.v[j] += position.v[j];
        return sum;
      },
      [&](std::int64_t i, const Pack<float, 4>& y) { store<float, 4>(to + i, y); });
}

// work(integral constant): the groups of four that each lane holds for this width.
template <typename Work>
void held(std::int64_t width, Work&& work) {
  const std::int64_t groups = blocks_for(width, kWarp * 4);
  if (groups <= 2) return work(std::integral_constant<int, 2>{});
  if (groups <= 4) return work(std::integral_constant<int, 4>{});
  if (groups <= 6) return work(std::integral_constant<int, 6>{});
  if (groups <= 8) return work(std::integral_constant<int, 8>{});
  if (groups <= 10) return work(std::integral_constant<int, 10>{});
  if (groups <= 16) return work(std::integral_constant<int, 16>{});
  work(std::integral_constant<int, 0>{});
}

// N numbers of one row a thread; row_packs: the threads of a row.
template <Activation A, int N, typename T>
__global__ void bias_activation_kernel(T* x, std::uint32_t packs, std::uint32_t row_packs, const float* bias,
                                       const T* own_bias) {
  const std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= packs) return;
  const std::int64_t column = std::int64_t{i % row_packs} * N;
  T* at = x + static_cast<std::int64_t>(i) * N;
  auto pack = load<T, N>(at);
  Pack<float, N> biases{};
  Pack<T, N> own_biases{};
  if (bias) biases = load_floats<N>(bias + column);
  if (own_bias) own_biases = load<T, N>(own_bias + column);
  UNROLL
  for (int j = 0; j < N; ++j) {
    float v = to_float(pack.v[j]);
    if (bias) v += biases.v[j];
    if (own_bias) v += to_float(own_biases.v[j]);
    pack.v[j] = from_float<T>(activate<A, sizeof(T) == 2>(v));
  }
  store<T, N>(at, pack);
}

// A warp divides a row by its norm.
__global__ void normalize_kernel(float* rows, std::int64_t count, std::int64_t width) {
  const std::int64_t row = thread_of_grid() / kWarp;
  if (row >= count) return;  // a whole warp
  float* x = rows + row * width;
  const int lane = thread_of_block() % kWarp;
  float squares = 0;
  for (std::int64_t i = lane; i < width; i += kWarp) squares += x[i] * x[i];
  const float norm = sqrtf(sum_of_warp(squares));
  for (std::int64_t i = lane; i < width; i += kWarp) x[i] /= norm;
}

__global__ void gather_kernel(const float* x, const std::int32_t* index, std::int64_t count, std::int64_t width,
                              float* out) {
  const std::int64_t i = thread_of_grid();
  if (i < count) out[i] = x[index[i / width] * width + i % width];
}

__global__ void average_kernel(const float* x, std::int64_t count, std::int64_t length, std::int64_t first,
                               std::int64_t width, float* out) {
  const std::int64_t i = thread_of_grid();
  if (i >= count) return;
  const float* from = x + (i / width * length) * width + i % width;
  float sum = 0;
  for (std::int64_t t = first; t < length; ++t) sum += from[t * width];
  out[i] = sum / static_cast<float>(length - first);
}

template <typename T>
__global__ void embed_tokens_kernel(const std::int32_t* ids, const std::int32_t* places, std::int64_t count,
                                    const T* embedding, const float* position, std::int64_t width, float* x) {
  const std::int64_t i = thread_of_grid();
  if (i >= count) return;
  const std::int64_t token = i / width, column = i % width;
  x[i] = to_float(embedding[ids[token] * width + column]) + position[places[token] * width + column];
}

// One pass of an image's resampling, a thread for each byte that it makes (of images blockIdx.y).
template <bool First>
__global__ void resize_kernel(const ResizeJob* jobs) {
  const ResizeJob& job = jobs[blockIdx.y];
  const std::int64_t i = thread_of_grid();
  if (i < pass_bytes(job.shape, First)) resize_byte<First>(job, i);
}

}  // namespace

void patches(Stream stream, const std::uint8_t* pixels, std::int64_t rows, std::int64_t size, std::int64_t patch,
             std::int64_t stride, const float* table, DType dtype, void* out) {
  const auto small = [](std::int64_t n) { return static_cast<std::uint32_t>(n); };
  const PatchShape shape{small(size), small(patch), small(size / patch), small(stride)};
  typed(dtype, [&](auto type) {
    using T = decltype(type);
    const std::int64_t row_packs = stride * static_cast<std::int64_t>(sizeof(T)) / 16;
    const std::int64_t packs = rows * shape.grid * shape.grid * row_packs;
    launch<Threads::together>(patches_kernel<T>, {blocks_for(packs, kBlock * kPatchPacks)}, kBlock, 0, stream, pixels,
                              small(packs), small(row_packs), shape, table, static_cast<T*>(out));
  });
}

void assemble(Stream stream, const float* embedded, const float* positions, const float* token, std::int64_t rows,
              std::int64_t patches, std::int64_t width, const NormWeights& norm, float* x) {
  const Grid grid{blocks_for(rows * (patches + (token ? 1 : 0)), kRowsOfBlock)};
  held(width, [&](auto n) {
    launch<Threads::together>(assemble_kernel<decltype(n)::value>, grid, kRowsOfBlock * kWarp, 0, stream, embedded,
                              positions, token, rows, patches, width, norm, x);
  });
}

void layer_norm(Stream stream, const float* x, std::int64_t stride, const std::int32_t* index, std::int64_t rows,
                std::int64_t width, const NormWeights& norm, DType dtype, void* out) {
  typed(dtype, [&](auto type) {
    using T = decltype(type);
    held(width, [&](auto n) {
      launch<Threads::together>(layer_norm_kernel<decltype(n)::value, T>, {blocks_for(rows, kRowsOfBlock)},
                                kRowsOfBlock * kWarp, 0, stream, x, stride, index, rows, width, norm,
                                static_cast<T*>(out));
    });
  });
}

template <typename T>
static void add_norm_as(Stream stream, float* x, const Deltas& deltas, bool stores, std::int64_t rows,
                        std::int64_t width, const NormWeights& norm, float scale, void* out) {
  held(width, [&](auto n) {
    launch<Threads::together>(add_norm_kernel<decltype(n)::value, T>, {blocks_for(rows, kRowsOfBlock)},
                              kRowsOfBlock * kWarp, 0, stream, x, deltas, stores, rows, width, norm, scale,
                              static_cast<T*>(out));
  });
}

void add_norm(Stream stream, float* x, const Deltas& deltas, bool stores, std::int64_t rows, std::int64_t width,
              const NormWeights& norm, const NumberFormat& format, void* out) {
  if (format.dtype == DType::e4m3) {
    add_norm_as<E4m3>(stream, x, deltas, stores, rows, width, norm, format.scale, out);
  } else {
    add_norm_as<Bf16>(stream, x, deltas, stores, rows, width, norm, 1, out);
  }
}

template <Activation A>
static void bias_activation_of(Stream stream, void* x, DType dtype, std::int64_t rows, std::int64_t columns,
                               const void* bias, DType bias_dtype) {
  typed(dtype, [&](auto type) {
    using T = decltype(type);
    const bool own = bias_dtype == dtype && dtype != DType::f32;
    constexpr int kMany = 16 / sizeof(T);
    const auto run = [&](auto n) {
      constexpr int N = decltype(n)::value;
      const std::int64_t packs = rows * columns / N;
      launch<Threads::independent>(
          bias_activation_kernel<A, N, T>, {blocks_for(packs, kBlock)}, kBlock, 0, stream, static_cast<T*>(x),
          static_cast<std::uint32_t>(packs), static_cast<std::uint32_t>(columns / N),
          own ? nullptr : static_cast<const float*>(bias), own ? static_cast<const T*>(bias) : nullptr);
    };
    if (columns % kMany == 0) {
      run(std::integral_constant<int, kMany>{});
    } else {
      run(std::integral_constant<int, 1>{});
    }
  });
}

void bias_activation(Stream stream, void* x, DType dtype, std::int64_t rows, std::int64_t columns, const void* bias,
                     DType bias_dtype, Activation activation) {
  with_activation(activation, [&](auto a) {
    bias_activation_of<decltype(a)::value>(stream, x, dtype, rows, columns, bias, bias_dtype);
  });
}

void gather(Stream stream, const float* x, const std::int32_t* index, std::int64_t rows, std::int64_t width,
            float* out) {
  launch<Threads::independent>(gather_kernel, {blocks_for(rows * width, kBlock)}, kBlock, 0, stream, x, index,
                               rows * width, width, out);
}

void average(Stream stream, const float* x, std::int64_t rows, std::int64_t length, std::int64_t first,
             std::int64_t width, float* out) {
  launch<Threads::independent>(average_kernel, {blocks_for(rows * width, kBlock)}, kBlock, 0, stream, x, rows * width,
                               length, first, width, out);
}

void embed_tokens(Stream stream, const std::int32_t* ids, const std::int32_t* places, std::int64_t tokens,
                  const void* embedding, DType dtype, const float* position, std::int64_t width, float* x) {
  typed(dtype, [&](auto type) {
    using T = decltype(type);
    launch<Threads::independent>(embed_tokens_kernel<T>, {blocks_for(tokens * width, kBlock)}, kBlock, 0, stream, ids,
                                 places, tokens * width, static_cast<const T*>(embedding), position, width, x);
  });
}

void normalize(Stream stream, float* rows, std::int64_t count, std::int64_t width) {
  launch<Threads::together>(normalize_kernel, {blocks_for(count, kRowsOfBlock)}, kRowsOfBlock * kWarp, 0, stream, rows,
                            count, width);
}

void resize(Stream stream, const ResizeJob* jobs, std::int64_t count, std::int64_t most) {
  const Grid grid{blocks_for(most, kBlock), count};
  launch<Threads::independent>(resize_kernel<true>, grid, kBlock, 0, stream, jobs);
  launch<Threads::independent>(resize_kernel<false>, grid, kBlock, 0, stream, jobs);
}

}  // namespace torchclip::cuda
