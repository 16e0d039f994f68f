// 3 x 3 convolutions with ReLU by Winograd's algorithm, F(2 x 2, 3 x 3). For each 2 x 2 pixels it needs sixteen
// products over the channels instead of thirty-six, and 16 / 9 of the memory for weights. The arithmetic is float32.
#pragma once

#include <cstdint>
#include <vector>

#include "linalg/arena.h"
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
  std::int64_t columns() const noexcept { return columns_; }
  std::size_t bytes() const noexcept;
  // in: f32 [images * side * side, channels]; out: f32 [images * side * side, columns]; both without gaps.
  void run(const Context& context, Arena& arena, const ConstMatrix& in, std::int64_t side, const Matrix& out) const;

 private:
  // The inputs, or the results, of the sixteen matrix multiplications for some tiles.
  struct Products {
    float* data;
    std::int64_t distance;  // From one of the sixteen to the next, in floats.
    float* of(std::int64_t i) const { return data + i * distance; }
  };
  // Both run all tiles: the first one computes a group of tiles from end to end in each task, the second one computes
  // each step for all tiles before the next step.
  void run_grouped(const Context& context, Arena& arena, const ConstMatrix& in, std::int64_t side,
                   const Matrix& out) const;
  void run_stepwise(const Context& context, Arena& arena, const ConstMatrix& in, std::int64_t side,
                    const Matrix& out) const;
  // Transforms tiles [begin, end) of the images. values: [16][end - begin][channels].
  void transform_input(const Context& context, const ConstMatrix& in, std::int64_t side, std::int64_t begin,
                       std::int64_t end, const Products& values) const;
  // Transforms the results of tiles [begin, end) to pixels. products: [16][end - begin][columns].
  void transform_output(const Context& context, const Products& products, std::int64_t side, std::int64_t begin,
                        std::int64_t end, const Matrix& out) const;

  std::int64_t channels_ = 0, columns_ = 0;
  std::vector<Linear> linears_;        // Sixteen.
  std::vector<float> bias_, outside_;  // outside_: a pixel outside the image.
};

}  // namespace torchclip::core
