// 3 x 3 convolutions with ReLU by Winograd's algorithm, F(2 x 2, 3 x 3): sixteen products over the channels for each 2
// x 2 pixels where a plain convolution needs thirty-six, for 16 / 9 of the weights' memory. Arithmetic in float32.
#pragma once

#include "linalg/packed.h"

namespace torchclip::core {

class WinogradConvolution {
 public:
  WinogradConvolution() = default;
  // weights: [columns, 9 taps (line, column), channels], the batch norm folded in; bias: [columns].
  // `precision`: one whose products take float32.
  WinogradConvolution(const Context& context, Precision precision, const float* weights, const float* bias,
                      std::int64_t columns, std::int64_t channels);

  explicit operator bool() const noexcept { return !bias_.empty(); }
  std::size_t bytes() const noexcept;
  // in: [images, side, side, channels], out: [images, side, side, columns]. `scratch` grows to what it needs.
  void run(const Context& context, const float* in, std::int64_t images, std::int64_t side, float* out,
           Buffer& scratch) const;

 private:
  struct Shape {
    std::int64_t side, tiles;  // of a image's line, and of all images
  };
  void transform(const Context& context, const Shape& shape, const float* in, std::int64_t begin, std::int64_t end,
                 float* values, std::int64_t distance) const;
  void finish(const Context& context, const Shape& shape, const float* products, std::int64_t distance,
              std::int64_t begin, std::int64_t end, float* out) const;

  std::int64_t channels_ = 0, columns_ = 0;
  std::vector<Linear> products_;       // sixteen
  std::vector<float> bias_, outside_;  // outside_: a pixel beside the image
};

}  // namespace torchclip::core
