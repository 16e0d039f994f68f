// Sizes that few shapes share.
#pragma once

#include <bit>
#include <cstdint>

namespace torchclip::cuda {

// The next of eight sizes between two powers of two; n > 8.
inline std::int64_t next_of_eight(std::int64_t n) {
  const auto step = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(n - 1)) / 8);
  return (n + step - 1) / step * step;
}

}  // namespace torchclip::cuda
