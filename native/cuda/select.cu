#include "kernels.h"

#include "arithmetic.h"
#include "device_code.h"

namespace torchclip::cuda {
namespace {

constexpr int kKept = 2048;  // keys that a block sorts: the best k and what may be better
constexpr int kSelectThreads = 256;

// All of `keys` into falling order: bitonic, by all threads of the block.
__device__ void sort_keys(std::uint64_t* keys) {
  for (int size = 2; size <= kKept; size *= 2) {
    for (int step = size / 2; step > 0; step /= 2) {
      __syncthreads();
      for (int i = thread_of_block(); i < kKept / 2; i += kSelectThreads) {
        const auto pair = bitonic_pair(i, size, step);
        if ((keys[pair.low] < keys[pair.high]) == pair.falling) {
          const auto key = keys[pair.low];
          keys[pair.low] = keys[pair.high];
          keys[pair.high] = key;
        }
      }
    }
  }
  __syncthreads();
}

// What is selected from. A source has columns for each query, and a key for each column.
struct Scores {
  const float* values;
  std::int64_t count, stride, first;

  __device__ std::int64_t columns(std::int64_t) const { return count; }
  __device__ std::uint64_t key(std::int64_t query, std::int64_t column) const {
    return key_of(values[query * stride + column], static_cast<std::uint32_t>(first + column));
  }
};

struct Keys {
  const std::uint64_t* values;
  std::int64_t most;
  const std::int32_t* counts;

  __device__ std::int64_t columns(std::int64_t query) const {
    return counts && counts[query] < most ? counts[query] : most;
  }
  __device__ std::uint64_t key(std::int64_t query, std::int64_t column) const { return values[query * most + column]; }
};

// A block for each query (x) and part (y): keys above the k-th best so far gather behind the best and are sorted in
// when they would no longer fit.
template <typename Source>
__global__ void select_kernel(Source source, std::int32_t k, std::int64_t parts, std::uint64_t* best) {
  __shared__ std::uint64_t keys[kKept];
  __shared__ int waiting;
  const std::int64_t query = blockIdx.x, columns = source.columns(query);
  std::uint64_t* own = best + (query * parts + blockIdx.y) * k;
  const std::int64_t begin = columns * blockIdx.y / parts, end = columns * (blockIdx.y + 1) / parts;
  for (int i = thread_of_block(); i < kKept; i += kSelectThreads) keys[i] = i < k ? own[i] : 0;
  if (threadIdx.x == 0) waiting = 0;
  __syncthreads();
  std::uint64_t least = keys[k - 1];
  for (std::int64_t start = begin; start < end; start += kSelectThreads) {
    const std::int64_t column = start + threadIdx.x;
    if (column < end) {
      const auto key = source.key(query, column);
      if (key > least) keys[k + atomicAdd(&waiting, 1)] = key;
    }
    __syncthreads();
    const bool full = waiting > kKept - k - kSelectThreads, done = start + kSelectThreads >= end;
    if (!full && !done) {
      __syncthreads();  // no thread adds before all have read
      continue;
    }
    sort_keys(keys);
    for (int i = k + thread_of_block(); i < kKept; i += kSelectThreads) keys[i] = 0;
    if (threadIdx.x == 0) waiting = 0;
    __syncthreads();
    least = keys[k - 1];
  }
  for (int i = thread_of_block(); i < k; i += kSelectThreads) own[i] = keys[i];
}

template <typename Source>
void select(Stream stream, const Source& source, std::int64_t queries, std::int32_t k, std::int64_t parts,
            std::uint64_t* best) {
  launch<Threads::together>(select_kernel<Source>, {queries, parts}, kSelectThreads, 0, stream, source, k, parts, best);
}

}  // namespace

void select_top_k(Stream stream, const float* scores, std::int64_t queries, std::int64_t columns, std::int64_t stride,
                  std::int64_t first, std::int32_t k, std::int64_t parts, std::uint64_t* best) {
  select(stream, Scores{scores, columns, stride, first}, queries, k, parts, best);
}

void select_keys(Stream stream, const std::uint64_t* keys, std::int64_t queries, std::int64_t most,
                 const std::int32_t* counts, std::int32_t k, std::uint64_t* best) {
  select(stream, Keys{keys, most, counts}, queries, k, 1, best);
}

}  // namespace torchclip::cuda
