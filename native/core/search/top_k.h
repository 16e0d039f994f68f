// Cosine matrix and exact top-k over normalised rows: by the kernels of search/index.h on a CPU, by those of
// native/cuda on a GPU, or where these are missing by libtorch's GEMM (search/gpu_products.h).
#pragma once

#include <cstdint>

namespace torchclip::core {

// out[i, j] = a[i] . b[j]; a: float [a_rows, dim], b: float [b_rows, dim], out: float [a_rows, b_rows].
void similarity(const float* a, std::int64_t a_rows, const float* b, std::int64_t b_rows, std::int32_t dim,
                const char* device, float* out);

// The k largest inner products of each query, largest first, equal scores by row number.
// indices: int32 [query_rows, k], scores: float [query_rows, k]; throws Error(E_ARGUMENT) unless 1 <= k <= base_rows.
void top_k(const float* queries, std::int64_t query_rows, const float* base, std::int64_t base_rows, std::int32_t dim,
           std::int32_t k, const char* device, std::int32_t* indices, float* scores);

struct BaseBlock {
  const float* data;  // float32 [rows, dim]
  std::int64_t rows;
  std::int64_t first;  // its first row's number in the whole base
};

// The same over a base that comes in consecutive blocks, one call each: `indices` and `scores` hold the best of the
// blocks before (nothing yet, where the block's first row is 0) and get those of this one too. 1 <= k <= rows so far.
// Rows whose scores are not numbers are no hits; past the last hit the index is -1 and the score NaN.
void top_k_of_block(const float* queries, std::int64_t query_rows, const BaseBlock& block, std::int32_t dim,
                    std::int32_t k, const char* device, std::int32_t* indices, float* scores);

}  // namespace torchclip::core
