// Cosine matrix and exact top-k over normalised rows. The CPU uses the kernels of search/index.h. A GPU uses those of
// native/cuda, or libtorch's GEMM (model/device_rows.h) if these are not available.
#pragma once

#include <cstdint>

namespace torchclip::core {

// out[i, j] = a[i] . b[j]; a: float [a_rows, dim], b: float [b_rows, dim], out: float [a_rows, b_rows].
void similarity(const float* a, std::int64_t a_rows, const float* b, std::int64_t b_rows, std::int32_t dim,
                const char* device, float* out);

// Finds the k largest inner products of each query, largest first, equal scores by row number.
// indices: int32 [query_rows, k], scores: float [query_rows, k]. Throws Error(E_ARGUMENT) unless 1 <= k <= base_rows.
void top_k(const float* queries, std::int64_t query_rows, const float* base, std::int64_t base_rows, std::int32_t dim,
           std::int32_t k, const char* device, std::int32_t* indices, float* scores);

struct BaseBlock {
  const float* data;  // float32 [rows, dim]
  std::int64_t rows;
  std::int64_t first;  // The number of its first row in the whole base.
};

// Top-k over a base that comes in consecutive blocks, one per call. `indices` and `scores` hold the best rows of the
// previous blocks (they are not read if the block's first row is 0) and are updated with this block. 1 <= k <= rows so
// far. NaN scores are not hits; after the last hit the index is -1 and the score is NaN.
void top_k_of_block(const float* queries, std::int64_t query_rows, const BaseBlock& block, std::int32_t dim,
                    std::int32_t k, const char* device, std::int32_t* indices, float* scores);

}  // namespace torchclip::core
