// A search of an index, with its results.
#pragma once

#include <cstdint>
#include <vector>

#include "search/index.h"

namespace torchclip::test {

struct Found {
  std::vector<std::int32_t> indices;
  std::vector<float> scores;
};

// queries: [any number, index.dim()].
inline Found search(const core::Index& index, const std::vector<float>& queries, std::int32_t k,
                    const core::RowFilter& filter = {}) {
  const std::int64_t count = static_cast<std::int64_t>(queries.size()) / index.dim();
  Found found{std::vector<std::int32_t>(static_cast<std::size_t>(count * k)), {}};
  found.scores.resize(found.indices.size());
  index.search({queries.data(), count, k, filter}, {found.indices.data(), found.scores.data()});
  return found;
}

}  // namespace torchclip::test
