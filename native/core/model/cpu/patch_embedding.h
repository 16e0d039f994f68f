// Converts images to the tokens of a Vision Transformer.
#pragma once

#include <cstdint>
#include <vector>

#include "linalg/arena.h"
#include "linalg/packed.h"
#include "model/config/pixel_table.h"
#include "model/config/tower_settings.h"

namespace torchclip::core {

// Converts images to tokens: a matrix multiplication over patches, with the positions added and the class row before
// them. A convolutional stem (kernels as large as their strides, with batch norm and GELU between) is a chain of such
// multiplications.
class PatchEmbedding {
 public:
  PatchEmbedding(const Context& context, Precision precision, const Weights& weights, const VitSettings& settings,
                 const PixelTable& pixels);
  // Writes the tokens of the images to x: f32 [images * settings.length(), width].
  void run(const Context& context, Arena& arena, const std::uint8_t* pixels, const Matrix& x) const;
  std::size_t bytes() const;

 private:
  // Images or features with the side of an image in pixels: [images * side * side, channels].
  struct Features {
    ConstMatrix pixels;
    std::int64_t side = 0;
  };
  // Runs the stem without its last layer. The result lies in the arena.
  Features run_stem(const Context& context, Arena& arena, const std::uint8_t* pixels, std::int64_t images) const;
  // Writes one line of patches of an image to rows of a matrix multiplication's input. `from`: the first pixel, uint8
  // RGB. `channels_last`: the order of a patch's values is (line, column, channel), as in the stem, and otherwise
  // (channel, line, column), as in the weights of a convolution.
  void pixel_patches(const std::uint8_t* from, std::int64_t patch, bool channels_last, const Matrix& to) const;
  template <typename T>
  void fill_patches(const std::uint8_t* from, std::int64_t patch, bool channels_last, const T (&table)[3][256],
                    const Matrix& to) const;

  DType type_ = DType::f32;  // The element type of the linear layers' input.
  VitSettings settings_;
  VitEmbedding embedding_;  // Without the weights of the patches.
  PixelTable table_;
  std::vector<Linear> stem_;  // Without its last layer, which is patches_.
  Linear patches_;
};

}  // namespace torchclip::core
