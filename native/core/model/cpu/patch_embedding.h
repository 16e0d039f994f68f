// Converts images to the tokens of a Vision Transformer.
#pragma once

#include <cstdint>
#include <vector>

#include "linalg/packed.h"
#include "model/config/pixel_table.h"
#include "model/config/tower_settings.h"
#include "model/cpu/workspace.h"

namespace torchclip::core {

// Converts images to tokens: a matrix multiplication over patches, with the positions added and the class row before
// them. A convolutional stem (kernels as large as their strides, with batch norm and GELU between) is a chain of such
// multiplications.
class PatchEmbedding {
 public:
  PatchEmbedding(const Context& context, Precision precision, const Weights& weights, const VitSettings& settings,
                 const PixelTable& pixels);
  // Writes float [rows, settings.length(), width] to x.
  void run(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows, float* x) const;
  std::size_t bytes() const;

 private:
  DType type_ = DType::f32;  // The element type of the linear layers' input.
  VitSettings settings_;
  VitEmbedding embedding_;  // Without the weights of the patches.
  PixelTable table_;
  std::vector<Linear> stem_;  // Without its last layer, which is patches_.
  Linear patches_;
};

}  // namespace torchclip::core
