// Text encoders that are Transformers (lib/models/architectures/text-transformer.ts).
#pragma once

#include <cstdint>
#include <vector>

#include "model/cpu/token_table.h"
#include "model/cpu/tower.h"
#include "model/cpu/transformer.h"

namespace torchclip::core {

// CLIP's, SigLIP's and CoCa's. Where the encoder is causal, each row
// costs what its own length up to the token that becomes the embedding costs, and what several rows begin with is
// computed once: the same sums in the same order, so the same bits.
class ClipTextTower : public TextTower {
 public:
  ClipTextTower(const Context& context, Precision precision, const Weights& weights, const TextSettings& settings,
                std::int64_t embed_dim);
  void encode(const Context& context, Workspace& workspace, const std::int32_t* ids, std::int64_t rows,
              std::int64_t length, float* out, Cancel cancel) const override;
  std::size_t bytes() const override;

 private:
  // The tokens of a row that anything depends on, as positions in it; `length` stands for the appended token.
  void needed(const std::int32_t* ids, std::int64_t length, std::vector<std::int32_t>& positions) const;
  // Rows `order` of ids; out: [rows of ids, embed_dim].
  void encode_chunk(const Context& context, Workspace& workspace, const std::int32_t* ids,
                    const std::vector<std::int32_t>& order, std::int64_t length, float* out, Cancel cancel) const;

  TextSettings settings_;
  std::int64_t embed_dim_ = 0;
  TokenTable tokens_;
  Tensor positions_, appended_;
  Linear projection_;
  Norm norm_;
  Transformer transformer_;
};

}  // namespace torchclip::core
