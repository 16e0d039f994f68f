// EVA (lib/models/architectures/image-eva.ts).
#pragma once

#include <cstdint>
#include <vector>

#include "model/cpu/patch_embedding.h"
#include "model/cpu/tower.h"

namespace torchclip::core {

// EVA has rotary positions, gated MLPs, and norms inside or after the branches.
class EvaTower : public ImageTower {
 public:
  EvaTower(const Context& context, Precision precision, const Weights& weights, const Json& config,
           std::int64_t embed_dim, const PixelTable& pixels);
  void encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows, float* out,
              Cancel cancel) const override;
  std::size_t bytes() const override;
  Precision precision() const override { return precision_; }

 private:
  struct Block {
    LayerNorm norm1, norm2, inner, mlp_norm;
    Linear in, out, gate, up, down;  // gate: empty if the MLP has none.
  };
  void encode_chunk(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows,
                    float* out, Cancel cancel) const;
  void rotate(const Context& context, float* qkv, std::int64_t rows) const;
  void attend(const Context& context, Workspace& workspace, std::int64_t rows, bool class_alone) const;
  // Adds the output of `linear` to x, normalised first if the norms come after the branches.
  void add(const Context& context, Workspace& workspace, const Linear& linear, const Linear::Input& in,
           const LayerNorm& norm, float* x, std::int64_t rows) const;

  Precision precision_ = Precision::fp32;
  DType type_ = DType::f32;  // The element type of the linear layers' input.
  VitSettings settings_;
  std::int64_t embed_dim_ = 0;
  bool rotary_ = false, inner_norm_ = false, post_norm_ = false;
  std::vector<float> sines_, cosines_;  // [patches, head width]
  PatchEmbedding embedding_;
  std::vector<Block> blocks_;
  LayerNorm final_norm_;
  Linear projection_;
};

}  // namespace torchclip::core
