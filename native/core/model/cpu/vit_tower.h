// Vision Transformers (lib/models/architectures/image-vit.ts).
#pragma once

#include <cstdint>

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
  void encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows, float* out,
              Cancel cancel) const override;
  std::size_t bytes() const override;
  Precision precision() const override { return precision_; }

 private:
  void encode_chunk(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows,
                    float* out, Cancel cancel) const;
  // Pools by one query into `pooled`, float [sequences, width of the query].
  void pool_attention(const Context& context, Workspace& workspace, const PackedSequences& sequences,
                      float* pooled) const;

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
