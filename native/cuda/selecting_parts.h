// How many blocks of the selection share the columns of a query.
#pragma once

#include <algorithm>
#include <cstdint>

namespace torchclip::cuda {

// Enough blocks for every multiprocessor, but each with many columns: a block sorts a few hundred keys at the end. One
// block then joins the keys of all parts.
inline std::int64_t selecting_parts(std::int64_t columns, std::int64_t queries, std::int64_t k,
                                    std::int64_t multiprocessors) {
  constexpr std::int64_t kLeastColumns = 4096, kMostKeys = 65536;
  constexpr std::int64_t kBlocksOfProcessor = 8;  // that a multiprocessor holds
  const std::int64_t busy = kBlocksOfProcessor * multiprocessors / queries;
  return std::max<std::int64_t>(1, std::min({busy, columns / kLeastColumns, kMostKeys / k}));
}

}  // namespace torchclip::cuda
