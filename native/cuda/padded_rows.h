// Rows of the host as they are sent to a device: their length is a multiple of 64 (see kInnerMultiple), so that rows of
// another one are copied and filled up with zeros.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "layers.h"

namespace torchclip::cuda {

class PaddedRows {
 public:
  PaddedRows(const float* data, std::int64_t dim)
      : data_(data), dim_(dim), padded_(core::round_up(dim, kInnerMultiple)) {}
  std::int64_t length() const { return padded_; }
  std::size_t bytes(std::int64_t rows) const { return static_cast<std::size_t>(rows * padded_) * 4; }
  // Rows [first, first + rows), valid until the next call.
  const float* at(std::int64_t first, std::int64_t rows) {
    if (padded_ == dim_) return data_ + first * dim_;
    copy_.assign(static_cast<std::size_t>(rows * padded_), 0.0f);
    for (std::int64_t r = 0; r < rows; ++r) {
      std::copy_n(data_ + (first + r) * dim_, dim_, copy_.data() + r * padded_);
    }
    return copy_.data();
  }

 private:
  const float* data_;
  std::int64_t dim_, padded_;
  std::vector<float> copy_;
};

}  // namespace torchclip::cuda
