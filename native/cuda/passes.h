// How a batch is divided into passes over the device.
#pragma once

#include <algorithm>
#include <cstdint>

#include "device.h"
#include "size_steps.h"

namespace torchclip::cuda {

// Tokens that go through the layers together. GEMMs on Hopper compute tiles of 128 rows; with one such row of tiles for
// each multiprocessor, no wave of tiles leaves multiprocessors idle for any number of columns.
inline std::int64_t pass_tokens(const Device& device) { return 128 * device.multiprocessors(); }

// Passes of at most that many sequences are captured, padded to one of a few sizes; larger ones are not held up by
// their launches, and are not padded.
constexpr std::int64_t kCapturedRows = 64;

// The sequences of a captured pass: 1, 2, 3, 4, 6, 8, 12, 16, then multiples of 8.
inline std::int64_t row_bucket(std::int64_t n) {
  for (const std::int64_t size : {1, 2, 3, 4, 6, 8, 12, 16}) {
    if (n <= size) return size;
  }
  return (n + 7) / 8 * 8;
}

// The rows that a pass over `rows` images computes.
inline std::int64_t computed_rows(std::int64_t rows) { return rows <= kCapturedRows ? row_bucket(rows) : rows; }

// The tokens of a captured pass of texts: 16, 24, 32, 48 ... up to 256, where a GEMM takes as long as its weights are
// read; then eight sizes between two powers of two.
inline std::int64_t token_bucket(std::int64_t n) {
  std::int64_t size = 16;
  while (size < n && size < 256) size = size % 3 == 0 ? size / 3 * 4 : size / 2 * 3;
  return n <= size ? size : next_of_eight(n);
}

// The rows of the next pass: as many as fit, the remainder last. The first pass of a large call from the host's memory
// is a small one, so that the device soon has work while the rest is copied.
inline std::int64_t next_rows(std::int64_t done, std::int64_t left, std::int64_t most, bool from_host) {
  const bool begins = from_host && done == 0;
  if (begins && most > 2 * kCapturedRows && left > 2 * kCapturedRows) return kCapturedRows;
  return std::min(left, most);
}

}  // namespace torchclip::cuda
