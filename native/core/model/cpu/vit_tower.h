// Vision Transformers (lib/models/architectures/image-vit.ts).
#pragma once

#include <cstdint>
#include <string>

#include "model/cpu/patch_embedding.h"
#include "model/cpu/tower.h"
#include "model/cpu/transformer.h"

namespace torchclip::core {

// Attention pooling by one learned query (SigLIP), or by the first of several (CoCa, without the MLP): see
// mapPoolSource and queryPoolSource in lib/models/architectures/image-vit.ts.
struct AttentionPool {
  PooledAttention attention;
  Linear out, up, down;
  LayerNorm norm;  // Before the MLP; with CoCa before the keys and values.
};

class VitTower : public ImageTower {
 public:
  VitTower(const Context& context, Precision precision, const Weights& weights, const VitSettings& settings,
           std::int64_t embed_dim, const PixelTable& pixels);
  void encode(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output, const Matrix& out,
              Cancel cancel) const override;
  std::size_t bytes() const override;
  Precision precision() const override { return precision_; }

 private:
  AttentionPool make_map_pool(const Context& context, const Weights& weights, const std::string& key) const;
  AttentionPool make_query_pool(const Context& context, const Weights& weights, const std::string& key) const;
  void encode_chunk(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output,
                    const Matrix& out, Cancel cancel) const;
  // Writes the mean of the patches of each image to `pooled`. x: f32 [images * length, width].
  void pool_average(const Context& context, const ConstMatrix& x, const Matrix& pooled) const;
  // Pools the tokens x by one query; pooled: f32 [images, width of the query].
  void pool_attention(const Context& context, Arena& arena, const ConstMatrix& x, const Matrix& pooled) const;
  // pooled += mlp(pooled), of SigLIP's pooling.
  void add_pool_feed_forward(const Context& context, Arena& arena, const Matrix& pooled) const;

  Precision precision_ = Precision::fp32;
  VitSettings settings_;
  std::int64_t embed_dim_ = 0;
  PatchEmbedding embedding_;
  Linear projection_;
  LayerNorm pre_norm_, final_norm_;
  Transformer transformer_;
  AttentionPool pool_;
};

}  // namespace torchclip::core
