// Images to the tokens of a Vision Transformer.
#pragma once

#include <cstdint>
#include <vector>

#include "linalg/packed.h"
#include "model/config/pixel_table.h"
#include "model/config/tower_settings.h"
#include "model/cpu/workspace.h"

namespace torchclip::core {

// Images to tokens: a product over patches, positions added, the class row before them. A convolutional stem (kernels
// as large as their strides, batch norm and GELU between) is a chain of such products.
class PatchEmbedding {
 public:
  PatchEmbedding(const Context& context, Precision precision, const Weights& weights, const VitSettings& settings,
                 const PixelTable& pixels);
  // To x: float [rows, settings.length(), width].
  void run(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows, float* x) const;
  std::size_t bytes() const;

 private:
  DType type_ = DType::f32;  // of the products' rows
  VitSettings settings_;
  VitEmbedding embedding_;  // without the patches' own weights
  PixelTable table_;
  std::vector<Linear> stem_;  // but its last product
  Linear patches_;
};

}  // namespace torchclip::core
