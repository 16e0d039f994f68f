// Cosine matrix and exact top-k on a Device, over a base of any size. The base passes through two slots in chunks; each
// chunk is copied while the previous one is multiplied and selected from. Rows that are searched again stay on the
// device: resident_rows.h.
#pragma once

#include <cstdint>
#include <vector>

#include "device.h"

namespace torchclip::cuda {

// As in search/top_k.h of the core; k <= kMostK. `chunk_rows` of 0 chooses a size automatically.
void similarity(Device& device, const float* a, std::int64_t a_rows, const float* b, std::int64_t b_rows,
                std::int64_t dim, float* out, std::int64_t chunk_rows = 0);
void top_k(Device& device, const float* queries, std::int64_t query_rows, const float* base, std::int64_t base_rows,
           std::int64_t dim, std::int32_t k, std::int32_t* indices, float* scores, std::int64_t chunk_rows = 0);

// Joins the hits of each query's parts: uint64 [queries, parts, k] to [queries, k], each in descending order.
std::vector<std::uint64_t> merged_hits(const std::vector<std::uint64_t>& keys, std::int64_t queries, std::int64_t parts,
                                       std::int32_t k);

// Writes the rows and scores of `count` keys. A key whose score is NaN is no hit: its index becomes -1.
void write_hits(const std::uint64_t* keys, std::int64_t count, std::int32_t* indices, float* scores);

}  // namespace torchclip::cuda
