// Text encoders that are Transformers (lib/models/architectures/text-transformer.ts).
#pragma once

#include <cstdint>
#include <vector>

#include "model/cpu/token_table.h"
#include "model/cpu/tower.h"
#include "model/cpu/transformer.h"

namespace torchclip::core {

// The text encoder of CLIP, SigLIP and CoCa. If the encoder is causal, the cost of a row depends on its length up to
// the pooled token, and a prefix that several rows share is computed once, with the same sums in the same order and
// therefore the same bits.
class ClipTextTower : public TextTower {
 public:
  ClipTextTower(const Context& context, Precision precision, const Weights& weights, const TextSettings& settings,
                std::int64_t embed_dim);
  void encode(const Context& context, Workspace& workspace, const std::int32_t* ids, std::int64_t rows,
              std::int64_t length, float* out, Cancel cancel) const override;
  std::size_t bytes() const override;

 private:
  // Sets `positions` to the tokens of a row that the embedding depends on; `length` stands for the appended token.
  void needed(const std::int32_t* ids, std::int64_t length, std::vector<std::int32_t>& positions) const;
  // Encodes the rows `order` of ids; out: [rows of ids, embed_dim].
  void encode_chunk(const Context& context, Workspace& workspace, const std::int32_t* ids,
                    const std::vector<std::int32_t>& order, std::int64_t length, float* out, Cancel cancel) const;

  TextSettings settings_;
  std::int64_t embed_dim_ = 0;
  TokenTable tokens_;
  Tensor positions_, appended_;
  Linear projection_;
  LayerNorm norm_;
  Transformer transformer_;
};

}  // namespace torchclip::core
