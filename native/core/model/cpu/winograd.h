// 3 x 3 convolutions with ReLU by Winograd's algorithm, F(2 x 2, 3 x 3). For each 2 x 2 pixels it needs sixteen
// products over the channels instead of thirty-six, and 16 / 9 of the memory for weights. The arithmetic is float32.
#pragma once

#include "linalg/packed.h"

namespace torchclip::core {

class WinogradConvolution {
 public:
  WinogradConvolution() = default;
  // weights: [columns, 9 taps (row, column), channels] with the batch norm folded in; bias: [columns]. `precision` must
  // be one whose linear layers take float32.
  WinogradConvolution(const Context& context, Precision precision, const float* weights, const float* bias,
                      std::int64_t columns, std::int64_t channels);

  explicit operator bool() const noexcept { return !bias_.empty(); }
  std::size_t bytes() const noexcept;
  // in: [images, side, side, channels], out: [images, side, side, columns]. `scratch` grows to the required size.
  void run(const Context& context, const float* in, std::int64_t images, std::int64_t side, float* out,
           Buffer& scratch) const;

 private:
  struct Shape {
    std::int64_t side, tiles;  // side: pixels per image row; tiles: of all images.
  };
  void transform(const Context& context, const Shape& shape, const float* in, std::int64_t begin, std::int64_t end,
                 float* values, std::int64_t distance) const;
  void finish(const Context& context, const Shape& shape, const float* products, std::int64_t distance,
              std::int64_t begin, std::int64_t end, float* out) const;

  std::int64_t channels_ = 0, columns_ = 0;
  std::vector<Linear> products_;       // Sixteen.
  std::vector<float> bias_, outside_;  // outside_: a pixel outside the image.
};

}  // namespace torchclip::core
