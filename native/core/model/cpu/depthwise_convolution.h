// Depthwise convolutions over feature maps: each filter reads one channel.
#pragma once

#include <cstdint>
#include <vector>

#include "model/cpu/features.h"
#include "model/cpu/merged_convolution.h"

namespace torchclip::core {

// Each input channel has one filter or several. The results of several filters of a channel lie `channels` columns
// apart, so that every filter is applied to all channels at once; order() names them. The arithmetic is float32.
class DepthwiseConvolution {
 public:
  DepthwiseConvolution() = default;
  // The kernel of `merged` is 3 or 7, the stride 1 or 2. channels: of the input, a divisor of the columns.
  DepthwiseConvolution(const MergedConvolution& merged, std::int64_t channels, std::int64_t stride);

  explicit operator bool() const noexcept { return channels_ > 0; }
  std::int64_t columns() const noexcept { return static_cast<std::int64_t>(bias_.size()); }
  std::size_t bytes() const noexcept { return (weights_.size() + bias_.size()) * sizeof(float); }
  std::int64_t side(std::int64_t in_side) const { return depthwise_side(in_side, stride_); }  // Of the result.
  // The column of the merged convolution at each place of the result.
  std::vector<std::int64_t> order() const;

  // Computes lines [begin, begin + count) of the results of all images. out: f32 [count * side(in.side), columns].
  void run_lines(const Kernels& kernels, const Features& in, std::int64_t begin, std::int64_t count,
                 const Matrix& out) const;
  // Computes all lines. out: f32 [images * side(in.side)^2, columns].
  void run(const Context& context, const Features& in, const Matrix& out) const;

 private:
  std::int64_t channels_ = 0, kernel_ = 0, stride_ = 1;
  std::vector<float> weights_, bias_;  // [columns / channels, taps, channels], [columns]
};

}  // namespace torchclip::core
