// How a batch is divided into passes over the device.
#pragma once

#include <cstdint>

namespace torchclip::cuda {

// Tokens that go through the layers together: enough for the full speed of the GEMMs, few enough that copies of one
// pass hide behind the next.
constexpr std::int64_t kPassTokens = 16384;
// Passes of at most that many sequences are recorded, padded to one of a few sizes; larger ones are not held up by
// their launches.
constexpr std::int64_t kCapturedRows = 64;

// The sizes that a captured pass comes in: 1, 2, 3, 4, 6, 8, 12, 16, 24 ...: at most half of it is padding.
inline std::int64_t bucket(std::int64_t n) {
  std::int64_t size = 1;
  while (size < n) size = size < 4 ? size + 1 : size % 3 == 0 ? size / 3 * 4 : size / 2 * 3;
  return size;
}

}  // namespace torchclip::cuda
