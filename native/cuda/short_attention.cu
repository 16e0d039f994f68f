#include "short_attention.h"

#include <stdexcept>

#include "device_code.h"
#include "tensor_core.h"

namespace torchclip::cuda {
namespace {

constexpr int kTileRows = 16;  // the queries of a warp

// What a lane holds of N tiles of a matrix, four numbers or pairs of each.
template <typename Number, int N>
using Tiles = Number[static_cast<std::size_t>(N)][4];

__device__ float exponential(float x) {
#if defined(__CUDA_ARCH__)
  return __expf(x);
#else
  return expf(x);
#endif
}

// Two neighbouring numbers.
template <typename T>
__device__ std::uint32_t pair_at(const T* from) {
  return *reinterpret_cast<const std::uint32_t*>(from);
}

template <typename T>
__device__ std::uint32_t pair_of(float low, float high) {
  return from_float<T>(low).bits | static_cast<std::uint32_t>(from_float<T>(high).bits) << 16;
}

// The largest value, or the sum, of the four lanes that hold a row.
__device__ float largest_of_row(float x) {
  UNROLL
  for (int lane = 1; lane <= 2; lane *= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lane));
  return x;
}
__device__ float sum_of_row(float x) {
  UNROLL
  for (int lane = 1; lane <= 2; lane *= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
  return x;
}

// One sequence of one head.
struct Sequence {
  std::int64_t head, query_start, key_start;
  int queries, keys;
};

__device__ Sequence sequence_of(const Attention& a, std::int64_t block) {
  const std::int64_t s = block / a.heads;
  return {block % a.heads, a.query_starts[s], a.key_starts[s],
          static_cast<int>(a.query_starts[s + 1] - a.query_starts[s]),
          static_cast<int>(a.key_starts[s + 1] - a.key_starts[s])};
}

// Keys as they are and values transposed, in shared memory: rows are padded so that the lanes of a warp, which read
// pairs of eight rows, meet each bank once.
template <typename T, int D, int K>
struct Shared {
  static constexpr int kKeyStride = D + 8, kValueStride = K + 8;
  alignas(16) T keys[static_cast<std::size_t>(K * kKeyStride)];
  alignas(16) T values[static_cast<std::size_t>(D * kValueStride)];

  __device__ void load_all(const Attention& a, const Sequence& s) {
    constexpr int kPacks = D / 8;
    const std::int64_t first = s.key_start * a.kv_stride + s.head * D;
    for (int i = thread_of_block(); i < K * kPacks; i += static_cast<int>(blockDim.x)) {
      const int key = i / kPacks, column = i % kPacks * 8;
      Pack<T, 8> k{}, v{};
      if (key < s.keys) {
        k = load<T, 8>(static_cast<const T*>(a.k) + first + key * a.kv_stride + column);
        v = load<T, 8>(static_cast<const T*>(a.v) + first + key * a.kv_stride + column);
      }
      store<T, 8>(keys + key * kKeyStride + column, k);
      UNROLL
      for (int j = 0; j < 8; ++j) values[(column + j) * kValueStride + key] = v.v[j];
    }
  }
};

// The softmax over the keys of the two rows that a lane holds a part of, not yet divided by its sum; returns 1 / sum of
// row g + 8 half, or 0 for a query without keys.
template <int K>
__device__ float exponentiate(Tiles<float, K / 8>& scores, int half, int first_key, int limit) {
  float largest = -INFINITY;
  UNROLL
  for (int tile = 0; tile < K / 8; ++tile) {
    UNROLL
    for (int j = 0; j < 2; ++j) {
      if (tile * 8 + first_key + j < limit) largest = fmaxf(largest, scores[tile][2 * half + j]);
    }
  }
  largest = largest_of_row(largest);
  float sum = 0;
  UNROLL
  for (int tile = 0; tile < K / 8; ++tile) {
    UNROLL
    for (int j = 0; j < 2; ++j) {
      float& score = scores[tile][2 * half + j];
      score = tile * 8 + first_key + j < limit ? exponential(score - largest) : 0.0f;
      sum += score;
    }
  }
  sum = sum_of_row(sum);
  return sum > 0 ? 1.0f / sum : 0.0f;
}

// The queries of a warp, as the left factors of its products; rows behind the last one are zeros.
template <typename T, int D>
__device__ void load_queries(const Attention& a, const Sequence& s, int first, int lane,
                             Tiles<std::uint32_t, D / 16>& q) {
  UNROLL
  for (int step = 0; step < D / 16; ++step) {
    UNROLL
    for (int i = 0; i < 4; ++i) {
      const int row = first + lane / 4 + 8 * (i % 2), column = step * 16 + lane % 4 * 2 + 8 * (i / 2);
      const T* from = static_cast<const T*>(a.q) + (s.query_start + row) * a.q_stride + s.head * D + column;
      q[step][i] = row < s.queries ? pair_at(from) : 0;
    }
  }
}

// scores [16, K] = q [16, D] keys^T. Tiles behind the last key stay as they are.
template <typename T, int D, int K>
__device__ void score_keys(const Shared<T, D, K>& shared, const Tiles<std::uint32_t, D / 16>& q, int keys, int lane,
                           Tiles<float, K / 8>& scores) {
  UNROLL
  for (int tile = 0; tile < K / 8; ++tile) {
    if (tile * 8 >= keys) continue;  // All threads of a block agree.
    UNROLL
    for (int step = 0; step < D / 16; ++step) {
      const T* from = shared.keys + (tile * 8 + lane / 4) * shared.kKeyStride + step * 16 + lane % 4 * 2;
      const std::uint32_t k[2] = {pair_at(from), pair_at(from + 8)};
      multiply_add<T>(scores[tile], q[step], k);
    }
  }
}

// result [16, D] = weights [16, K] values.
template <typename T, int D, int K>
__device__ void weigh_values(const Shared<T, D, K>& shared, const Tiles<float, K / 8>& weights, int keys, int lane,
                             Tiles<float, D / 8>& result) {
  UNROLL
  for (int step = 0; step < K / 16; ++step) {
    if (step * 16 >= keys) continue;
    const auto &low = weights[2 * step], &high = weights[2 * step + 1];
    const std::uint32_t p[4] = {pair_of<T>(low[0], low[1]), pair_of<T>(low[2], low[3]), pair_of<T>(high[0], high[1]),
                                pair_of<T>(high[2], high[3])};
    UNROLL
    for (int tile = 0; tile < D / 8; ++tile) {
      const T* from = shared.values + (tile * 8 + lane / 4) * shared.kValueStride + step * 16 + lane % 4 * 2;
      const std::uint32_t v[2] = {pair_at(from), pair_at(from + 8)};
      multiply_add<T>(result[tile], p, v);
    }
  }
}

// A block for each sequence and head, a warp for each 16 queries. D: the width of a head; K: room for keys.
template <typename T, int D, int K>
__global__ void short_attention_kernel(Attention a, T* out) {
  __shared__ Shared<T, D, K> shared;
  const auto s = sequence_of(a, blockIdx.x);
  shared.load_all(a, s);
  __syncthreads();
  const int lane = thread_of_block() % kWarp, first = thread_of_block() / kWarp * kTileRows;
  if (first >= s.queries) return;  // a whole warp
  const int g = lane / 4, t = lane % 4 * 2;
  Tiles<std::uint32_t, D / 16> q;
  load_queries<T, D>(a, s, first, lane, q);
  Tiles<float, K / 8> scores = {};
  Tiles<float, D / 8> result = {};
  float scale[2];
  score_keys<T, D, K>(shared, q, s.keys, lane, scores);
  UNROLL
  for (int half = 0; half < 2; ++half) {
    const int query = first + g + 8 * half;
    const int limit = a.causal && query + 1 < s.keys ? query + 1 : s.keys;
    scale[half] = exponentiate<K>(scores, half, t, limit);
  }
  weigh_values<T, D, K>(shared, scores, s.keys, lane, result);
  UNROLL
  for (int half = 0; half < 2; ++half) {
    const int query = first + g + 8 * half;
    if (query >= s.queries) continue;
    T* to = out + ((s.query_start + query) * a.heads + s.head) * D + t;
    UNROLL
    for (int tile = 0; tile < D / 8; ++tile) {
      *reinterpret_cast<std::uint32_t*>(to + tile * 8) =
          pair_of<T>(result[tile][2 * half] * scale[half], result[tile][2 * half + 1] * scale[half]);
    }
  }
}

template <typename T, int D, int K>
void start(Stream stream, const Attention& a, void* out) {
  const auto threads = static_cast<int>(blocks_for(a.max_queries, kTileRows)) * kWarp;
  launch<Threads::together>(short_attention_kernel<T, D, K>, {a.sequences * a.heads}, threads, 0, stream, a,
                            static_cast<T*>(out));
}

template <typename T, int D>
void start(Stream stream, const Attention& a, void* out) {
  if (a.max_keys <= 64) return start<T, D, 64>(stream, a, out);
  start<T, D, kShortKeys>(stream, a, out);
}

template <typename T>
void start(Stream stream, const Attention& a, void* out) {
  if (a.width == 32) return start<T, 32>(stream, a, out);
  if (a.width == 64) return start<T, 64>(stream, a, out);
  start<T, 128>(stream, a, out);
}

}  // namespace

bool is_short(const Attention& a) {
  const bool has_16_bits = a.dtype == DType::f16 || a.dtype == DType::bf16;
  const bool has_width = a.width == 32 || a.width == 64 || a.width == 128;
  return has_16_bits && has_width && a.max_keys <= kShortKeys && a.max_queries <= kShortKeys;
}

void short_attention(Stream stream, const Attention& a, void* out) {
  if (!is_short(a)) throw std::invalid_argument("attention that is too long for the kernel of short sequences");
  if (a.dtype == DType::f16) return start<Half>(stream, a, out);
  start<Bf16>(stream, a, out);
}

}  // namespace torchclip::cuda
