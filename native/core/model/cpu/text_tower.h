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
  void encode(const Context& context, Arena& arena, const std::int32_t* ids, std::int64_t length, const Matrix& out,
              Cancel cancel) const override;
  std::size_t bytes() const override;

 private:
  // The tokens of a chunk of texts that are computed.
  struct PackedTexts {
    PackedSequences sequences;
    std::vector<std::int32_t> rows, positions;  // For each token: its row in `ids`, and its position in that row.
    std::vector<std::int64_t> pooled;           // The pooled token of each text.
  };
  // Whether a prefix that several rows share is computed once.
  bool shares_prefixes() const { return settings_.causal && !settings_.appended_token; }
  // Sets `positions` to the tokens of a row that the embedding depends on; `length` stands for the appended token.
  void needed(const std::int32_t* ids, std::int64_t length, std::vector<std::int32_t>& positions) const;
  // Packs the rows `order` of ids.
  PackedTexts pack(const std::int32_t* ids, const std::vector<std::int32_t>& order, std::int64_t length) const;
  // Writes the sums of token and position embeddings to x: f32 [tokens, width].
  void embed(const Context& context, const std::int32_t* ids, std::int64_t length, const PackedTexts& texts,
             const Matrix& x) const;
  // Encodes the rows `order` of ids; out: [rows of ids, embed_dim].
  void encode_chunk(const Context& context, Arena& arena, const std::int32_t* ids,
                    const std::vector<std::int32_t>& order, std::int64_t length, const Matrix& out,
                    Cancel cancel) const;

  TextSettings settings_;
  std::int64_t embed_dim_ = 0;
  TokenTable tokens_;
  Tensor positions_, appended_;
  Linear projection_;
  LayerNorm norm_;
  Transformer transformer_;
};

}  // namespace torchclip::core
