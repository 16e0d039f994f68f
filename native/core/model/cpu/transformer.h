// The Transformer stack that CLIP's towers share, over sequences of any lengths that are packed one after another.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "linalg/arena.h"
#include "model/config/tower_settings.h"
#include "model/cpu/layer_norm.h"
#include "model/cpu/packed_sequences.h"
#include "model/cpu/pooled_attention.h"

namespace torchclip::core {

class Transformer {
 public:
  Transformer() = default;
  // `layers` is the prefix of the names of the layers' weights, before the layer number. `pools`: only one token per
  // sequence of the last layer is needed, and run_pooled() is used.
  Transformer(const Context& context, Precision precision, const Weights& weights, const std::string& layers,
              const BlockSettings& settings, bool causal, bool pools);

  // Runs all layers in place on the tokens x: f32 [tokens, width].
  void run(const Context& context, Arena& arena, const PackedSequences& sequences, const Matrix& x,
           Cancel cancel) const;

  // Runs all layers and writes the pooled token of each sequence to `out`: f32 [sequences, width]. `pooled` names a row
  // of x for each sequence; x is overwritten.
  void run_pooled(const Context& context, Arena& arena, const PackedSequences& sequences, const Matrix& x,
                  const std::vector<std::int64_t>& pooled, const Matrix& out, Cancel cancel) const;

  std::size_t bytes() const;

 private:
  struct Block {
    LayerNorm norm1, norm2;
    Linear qkv;  // In a last block that pools, only the queries.
    PooledAttention pooled_attention;
    Linear out, up, down;
  };
  Block make_block(const Context& context, const Weights& weights, const std::string& key,
                   const BlockSettings& settings, bool pools) const;
  // x += attention(x), of all tokens.
  void add_attention(const Context& context, Arena& arena, const Block& block, const PackedSequences& sequences,
                     const Matrix& x) const;
  // pooled_rows += attention(x), where pooled_rows are the rows `pooled` of x.
  void add_pooled_attention(const Context& context, Arena& arena, const Block& block, const PackedSequences& sequences,
                            const ConstMatrix& x, const std::vector<std::int64_t>& pooled,
                            const Matrix& pooled_rows) const;
  // x += mlp(x).
  void add_feed_forward(const Context& context, Arena& arena, const Block& block, const Matrix& x) const;
  // x += linear(branch): ends a branch. The sum is normalised if the model is post-norm.
  void add_linear(const Context& context, Arena& arena, const Linear& linear, const ConstMatrix& branch,
                  const LayerNorm& norm, const Matrix& x) const;
  // The norm before a branch: null if the model is post-norm.
  const LayerNorm* pre_norm(const LayerNorm& norm) const { return post_norm_ ? nullptr : &norm; }

  Precision precision_ = Precision::fp32;
  DType type_ = DType::f32;  // The element type of the linear layers' input.
  // The element type of a branch between its layers. int8 needs a row's largest value before it can store the row,
  // so these rows are float32 first.
  DType branch_type_ = DType::f32;
  DType attention_type_ = DType::f32;  // The element type of queries, keys and values.
  std::int64_t width_ = 0, heads_ = 0, mlp_width_ = 0;
  bool causal_ = false, post_norm_ = false;
  Activation activation_ = Activation::none;
  std::vector<Block> blocks_;
};

}  // namespace torchclip::core
