// Restricts the rows that a search may find.
#pragma once

#include <cstdint>
#include <vector>

namespace torchclip::core {

// One bit for each of the first `rows` rows, lowest bit of each byte first. Rows without a bit are excluded. If `bits`
// is null, every row passes.
struct RowFilter {
  const std::uint8_t* bits = nullptr;
  std::int64_t rows = 0;

  bool passes(std::int64_t row) const { return !bits || (row < rows && (bits[row >> 3] >> (row & 7) & 1) != 0); }

  // Returns how many of the first `among` rows pass.
  std::int64_t count(std::int64_t among) const {
    if (!bits) return among;
    const std::int64_t n = among < rows ? among : rows;
    std::int64_t found = 0;
    for (std::int64_t byte = 0; byte < n / 8; ++byte) found += __builtin_popcount(bits[byte]);
    for (std::int64_t row = n / 8 * 8; row < n; ++row) found += passes(row) ? 1 : 0;
    return found;
  }

  // Returns whether so few of the first `among` rows pass that it is faster to score them one by one.
  bool is_sparse(std::int64_t among) const {
    constexpr std::int64_t kSparse = 8;  // Fewer than one row in this many.
    return bits && count(among) < among / kSparse;
  }

  // Returns the numbers of the rows that pass among the first `among` rows.
  std::vector<std::int32_t> list(std::int64_t among) const {
    std::vector<std::int32_t> found;
    found.reserve(static_cast<std::size_t>(count(among)));
    for (std::int64_t row = 0; row < among; ++row) {
      if (bits && row % 8 == 0 && row + 8 <= rows && bits[row >> 3] == 0) {
        row += 7;
        continue;
      }
      if (passes(row)) found.push_back(static_cast<std::int32_t>(row));
    }
    return found;
  }
};

}  // namespace torchclip::core
