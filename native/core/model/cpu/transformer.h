// The Transformer stack that CLIP's towers share, over sequences of any lengths that are packed one after another.
#pragma once

#include <string>

#include "base/cancel.h"
#include "model/config/tower_settings.h"
#include "model/cpu/attention.h"

namespace torchclip::core {

struct PackedSequences {
  std::vector<std::int64_t> starts;  // The first own token of each sequence; the last entry is the number of tokens.
  // Causal only. Empty, or the tokens that each sequence attends to, with its own last; those of sequence s start at
  // key_starts[s]. A prefix that several sequences share is computed once.
  std::vector<std::int32_t> keys;
  std::vector<std::int64_t> key_starts;
  std::vector<char> excludes_self;  // Causal only; empty, or 1 if a sequence's last token does not attend to itself.
  std::int64_t count() const { return static_cast<std::int64_t>(starts.size()) - 1; }
  std::int64_t tokens() const { return starts.back(); }
  std::int64_t length(std::int64_t s) const { return starts[s + 1] - starts[s]; }
  bool excludes_itself(std::int64_t s) const { return !excludes_self.empty() && excludes_self[s]; }
  const std::int32_t* rows(std::int64_t s) const { return keys.empty() ? nullptr : keys.data() + key_starts[s]; }
  std::int64_t key_count(std::int64_t s) const { return keys.empty() ? length(s) : key_starts[s + 1] - key_starts[s]; }
};

class Transformer {
 public:
  Transformer() = default;
  // `layers` is the prefix of the names of the layers' weights, before the layer number. `pools`: only one token per
  // sequence of the last layer is needed.
  Transformer(const Context& context, Precision precision, const Weights& weights, const std::string& layers,
              const BlockSettings& settings, bool causal, bool pools);

  // Runs all layers in place on workspace.x. If `pools` was set, `pooled` names a row of x for each sequence, and
  // workspace.few holds these rows afterwards: float [sequences, width].
  void run(const Context& context, Workspace& workspace, const PackedSequences& sequences, const std::int64_t* pooled,
           Cancel cancel) const;

  std::int64_t width() const noexcept { return width_; }
  std::size_t bytes() const;

 private:
  struct Block {
    LayerNorm norm1, norm2;
    Linear qkv;  // In a last block that pools, only the queries.
    PooledAttention pool;
    Linear out, up, down;
  };
  // Attention of all tokens, from qkv to `mixed` of type `kept`.
  void attend(const Context& context, Workspace& workspace, const Block& block, const PackedSequences& sequences,
              DType kept) const;
  // Attention of the pooled tokens, which are copied to workspace.few, to `mixed`.
  void attend_pooled(const Context& context, Workspace& workspace, const Block& block, const PackedSequences& sequences,
                     const std::int64_t* pooled, DType kept) const;
  void feed_forward(const Context& context, Workspace& workspace, const Block& block, float* x,
                    std::int64_t rows) const;

  Precision precision_ = Precision::fp32;
  DType type_ = DType::f32;  // The element type of the linear layers' input.
  std::int64_t width_ = 0, heads_ = 0, mlp_ = 0;
  bool causal_ = false, post_norm_ = false, pools_ = false;
  Activation activation_ = Activation::none;
  std::vector<Block> blocks_;
};

}  // namespace torchclip::core
