// The Transformer stack that CLIP's towers share, over sequences of any lengths packed one after another.
#pragma once

#include <string>

#include "base/cancel.h"
#include "model/config/tower_settings.h"
#include "model/cpu/attention.h"

namespace torchclip::core {

struct Sequences {
  std::vector<std::int64_t> starts;  // of each sequence's own tokens, and the number of tokens at the end
  // Causal alone; empty, or the tokens that each sequence sees, its own last, those of sequence s from key_starts[s]
  // on: what several sequences begin with is computed once.
  std::vector<std::int32_t> keys;
  std::vector<std::int64_t> key_starts;
  std::vector<char> excludes_self;  // causal alone; empty, or 1 where a sequence's last token does not see itself
  std::int64_t count() const { return static_cast<std::int64_t>(starts.size()) - 1; }
  std::int64_t tokens() const { return starts.back(); }
  std::int64_t length(std::int64_t s) const { return starts[s + 1] - starts[s]; }
  bool is_blind(std::int64_t s) const { return !excludes_self.empty() && excludes_self[s]; }
  const std::int32_t* rows(std::int64_t s) const { return keys.empty() ? nullptr : keys.data() + key_starts[s]; }
  std::int64_t key_count(std::int64_t s) const { return keys.empty() ? length(s) : key_starts[s + 1] - key_starts[s]; }
};

class Transformer {
 public:
  Transformer() = default;
  // `layers`: what the names of the layers' weights begin with, before their number. `pools`: of the last layer, one
  // token of each sequence is all that is asked for.
  Transformer(const Context& context, Precision precision, const Weights& weights, const std::string& layers,
              const BlockSettings& settings, bool causal, bool pools);

  // Through all layers in place of workspace.x. One that pools takes a row of x for each sequence, `pooled`; these rows
  // are what workspace.few holds afterwards: float [sequences, width].
  void run(const Context& context, Workspace& workspace, const Sequences& sequences, const std::int64_t* pooled,
           Cancel cancel) const;

  std::int64_t width() const noexcept { return width_; }
  std::size_t bytes() const;

 private:
  struct Block {
    Norm norm1, norm2;
    Linear qkv;  // in a last block that pools, the queries alone
    PooledAttention pool;
    Linear out, up, down;
  };
  // Attention of all tokens, from qkv to `mixed` of type `kept`.
  void attend(const Context& context, Workspace& workspace, const Block& block, const Sequences& sequences,
              DType kept) const;
  // Attention of the pooled tokens, copied to workspace.few, to `mixed`.
  void attend_pooled(const Context& context, Workspace& workspace, const Block& block, const Sequences& sequences,
                     const std::int64_t* pooled, DType kept) const;
  void feed_forward(const Context& context, Workspace& workspace, const Block& block, float* x,
                    std::int64_t rows) const;

  Precision precision_ = Precision::fp32;
  DType type_ = DType::f32;  // of the products' rows
  std::int64_t width_ = 0, heads_ = 0, mlp_ = 0;
  bool causal_ = false, post_norm_ = false, pools_ = false;
  Activation activation_ = Activation::none;
  std::vector<Block> blocks_;
};

}  // namespace torchclip::core
