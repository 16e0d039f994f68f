// EVA (lib/models/architectures/image-eva.ts).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/cpu/layer_norm.h"
#include "model/cpu/patch_embedding.h"
#include "model/cpu/tower.h"

namespace torchclip::core {

// EVA has rotary positions, gated MLPs, and norms inside or after the branches.
class EvaTower : public ImageTower {
 public:
  EvaTower(const Context& context, Precision precision, const Weights& weights, const Json& config,
           const PixelTable& pixels);
  void encode(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output, const Matrix& out,
              Cancel cancel) const override;
  std::size_t bytes() const override;
  Precision precision() const override { return precision_; }

 private:
  struct Block {
    LayerNorm norm1, norm2, inner, mlp_norm;
    Linear in, out, gate, up, down;  // gate: empty if the MLP has none.
  };
  Block make_block(const Context& context, const Weights& weights, const std::string& key, bool gated) const;
  void make_rotary_positions();
  void encode_chunk(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output,
                    const Matrix& out, Cancel cancel) const;
  // out += attention(x). x: f32 [images * length, width]; out: x itself, or [images, width] for the class tokens alone.
  void add_attention(const Context& context, Arena& arena, const Block& block, const ConstMatrix& x,
                     const Matrix& out) const;
  // Rotates the queries and keys of the patches by their positions. qkv: f32 [images * length, 3 width].
  void rotate(const Context& context, const Matrix& qkv) const;
  // The first queries of each image attend to all of its tokens. out: f32 [images * queries, width].
  void attend(const Context& context, Arena& arena, const ConstMatrix& qkv, const Matrix& out) const;
  // x += mlp(x).
  void add_feed_forward(const Context& context, Arena& arena, const Block& block, const Matrix& x) const;
  // x += linear(input): ends a branch, whose result is normalised before the sum if the model is post-norm.
  void add_linear(const Context& context, Arena& arena, const Linear& linear, const ConstMatrix& input,
                  const LayerNorm& norm, const Matrix& x) const;
  // The norm before a branch: null if the model is post-norm.
  const LayerNorm* pre_norm(const LayerNorm& norm) const { return post_norm_ ? nullptr : &norm; }

  Precision precision_ = Precision::fp32;
  DType type_ = DType::f32;  // The element type of the linear layers' input.
  VitSettings settings_;
  bool rotary_ = false, inner_norm_ = false, post_norm_ = false;
  std::vector<float> sines_, cosines_;  // [patches, head width]
  PatchEmbedding embedding_;
  std::vector<Block> blocks_;
  LayerNorm final_norm_;
  Linear projection_;
};

}  // namespace torchclip::core
