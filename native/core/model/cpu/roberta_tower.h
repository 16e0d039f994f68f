// RoBERTa and XLM-R (lib/models/architectures/text-roberta.ts).
#pragma once

#include <cstdint>

#include "model/cpu/token_table.h"
#include "model/cpu/tower.h"
#include "model/cpu/transformer.h"

namespace torchclip::core {

// Padding is omitted, and the mean of the tokens is projected.
class RobertaTower : public TextTower {
 public:
  RobertaTower(const Context& context, Precision precision, const Weights& weights, const Json& config);
  void encode(const Context& context, Arena& arena, const std::int32_t* ids, std::int64_t length, const Matrix& out,
              Cancel cancel) const override;
  std::size_t bytes() const override;

 private:
  void encode_chunk(const Context& context, Arena& arena, const std::int32_t* ids, std::int64_t length,
                    const Matrix& out, Cancel cancel) const;
  // Writes the sums of token, position and type embeddings to x: f32 [tokens, width]. Padding is omitted.
  void embed(const Context& context, const std::int32_t* ids, std::int64_t length, const PackedSequences& sequences,
             const Matrix& x) const;
  // Writes the first token of each sequence, or the mean of its tokens, to `pooled`: f32 [sequences, width].
  void pool(const Context& context, const PackedSequences& sequences, const ConstMatrix& x, const Matrix& pooled) const;

  BlockSettings settings_;
  std::int32_t pad_id_ = 0;
  bool first_ = false;  // Whether the first token is pooled instead of the mean.
  TokenTable tokens_;
  Tensor positions_, kind_;
  LayerNorm norm_;
  Transformer transformer_;
  Linear projections_[2];  // The second one may be empty.
};

}  // namespace torchclip::core
