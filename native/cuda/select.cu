#include "kernels.h"

#include "arithmetic.h"
#include "device_code.h"

namespace torchclip::cuda {
namespace {

constexpr int kKept = 2048;  // The most keys that a block sorts: the best k and what may be better.
constexpr int kSelectThreads = 256;

// The first `count` keys into falling order: bitonic, by all threads of the block. count: a power of two.
__device__ void sort_keys(std::uint64_t* keys, int count) {
  for (int size = 2; size <= count; size *= 2) {
    for (int step = size / 2; step > 0; step /= 2) {
      __syncthreads();
      for (int i = thread_of_block(); i < count / 2; i += kSelectThreads) {
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

__device__ int power_of_two_from(int n) {
  int power = 1;
  while (power < n) power *= 2;
  return power;
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

// A number that at least k keys of [begin, end) reach: the k-th largest of those that the threads find largest.
// k <= kSelectThreads; scratch: [kSelectThreads], zeros before and after.
template <typename Source>
__device__ std::uint64_t reached_by_k(const Source& source, std::int64_t query, std::int64_t begin, std::int64_t end,
                                      std::int32_t k, std::uint64_t* scratch) {
  std::uint64_t largest = 0;
  for (std::int64_t column = begin + thread_of_block(); column < end; column += kSelectThreads) {
    const auto key = source.key(query, column);
    if (key > largest) largest = key;
  }
  scratch[thread_of_block()] = largest;
  sort_keys(scratch, kSelectThreads);
  const std::uint64_t reached = scratch[k - 1];
  __syncthreads();
  scratch[thread_of_block()] = 0;
  return reached;
}

// A block for each query (x) and part (y): keys above the k-th best so far gather behind the best and are sorted in
// when they would no longer fit. Of few hits (k <= kSelectThreads), the block first finds a number that k keys reach,
// so that hardly more than the k best are gathered.
template <typename Source, bool kFew>
__global__ void select_kernel(Source source, std::int32_t k, std::int64_t parts, bool continues, std::uint64_t* best) {
  constexpr int kEach = kFew ? 4 : 1;  // columns of a thread between two barriers
  __shared__ std::uint64_t keys[kKept];
  __shared__ int waiting;
  const std::int64_t query = blockIdx.x, columns = source.columns(query);
  std::uint64_t* own = best + (query * parts + blockIdx.y) * k;
  const std::int64_t begin = columns * blockIdx.y / parts, end = columns * (blockIdx.y + 1) / parts;
  for (int i = thread_of_block(); i < kKept; i += kSelectThreads) keys[i] = continues && i < k ? own[i] : 0;
  if (threadIdx.x == 0) waiting = 0;
  __syncthreads();
  std::uint64_t least = keys[k - 1];
  if constexpr (kFew) {
    const auto reached = reached_by_k(source, query, begin, end, k, keys + kKept - kSelectThreads);
    if (reached > least) least = reached - 1;
    __syncthreads();
  }
  for (std::int64_t start = begin; start < end; start += kSelectThreads * kEach) {
    UNROLL
    for (int j = 0; j < kEach; ++j) {
      const std::int64_t column = start + j * kSelectThreads + thread_of_block();
      const auto key = column < end ? source.key(query, column) : 0;
      if (key > least) keys[k + atomicAdd(&waiting, 1)] = key;
    }
    __syncthreads();
    const int used = k + waiting;
    const bool full = used > kKept - kSelectThreads * kEach, done = start + kSelectThreads * kEach >= end;
    if (!full && !done) {
      __syncthreads();  // no thread adds before all have read
      continue;
    }
    sort_keys(keys, power_of_two_from(used));
    for (int i = k + thread_of_block(); i < used; i += kSelectThreads) keys[i] = 0;
    if (threadIdx.x == 0) waiting = 0;
    __syncthreads();
    if (keys[k - 1] > least) least = keys[k - 1];
  }
  for (int i = thread_of_block(); i < k; i += kSelectThreads) own[i] = keys[i];
}

template <typename Source>
void select(Stream stream, const Source& source, std::int64_t queries, std::int32_t k, std::int64_t parts,
            bool continues, std::uint64_t* best) {
  const auto kernel = k <= kSelectThreads ? select_kernel<Source, true> : select_kernel<Source, false>;
  launch<Threads::together>(kernel, {queries, parts}, kSelectThreads, 0, stream, source, k, parts, continues, best);
}

}  // namespace

void select_top_k(Stream stream, const float* scores, std::int64_t queries, std::int64_t columns, std::int64_t stride,
                  std::int64_t first, std::int32_t k, std::int64_t parts, bool continues, std::uint64_t* best) {
  select(stream, Scores{scores, columns, stride, first}, queries, k, parts, continues, best);
}

void select_keys(Stream stream, const std::uint64_t* keys, std::int64_t queries, std::int64_t most,
                 const std::int32_t* counts, std::int32_t k, std::uint64_t* best) {
  select(stream, Keys{keys, most, counts}, queries, k, 1, false, best);
}

}  // namespace torchclip::cuda
