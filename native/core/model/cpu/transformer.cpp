#include "model/cpu/transformer.h"

#include <algorithm>

#include "base/item.h"
#include "model/cpu/attention.h"

namespace torchclip::core {

Transformer::Transformer(const Context& context, Precision precision, const Weights& weights, const std::string& layers,
                         const BlockSettings& settings, bool causal, bool pools)
    : precision_(precision),
      type_(input_type(context, precision)),
      branch_type_(type_ == DType::s8 ? DType::f32 : type_),
      attention_type_(attention_type(context, precision, settings.width / settings.heads)),
      width_(settings.width),
      heads_(settings.heads),
      mlp_width_(settings.mlp_width),
      causal_(causal),
      post_norm_(settings.post_norm),
      activation_(settings.activation) {
  for (std::int64_t i = 0; i < settings.layers; ++i) {
    const bool last = i + 1 == settings.layers;
    blocks_.push_back(make_block(context, weights, layers + std::to_string(i), settings, pools && last));
  }
}

Transformer::Block Transformer::make_block(const Context& context, const Weights& weights, const std::string& key,
                                           const BlockSettings& settings, bool pools) const {
  const auto linear = [&](const std::string& weight, const std::string& bias, std::int64_t columns, std::int64_t inner,
                          const Tensor& factors) {
    const auto w = need(weights, weight, columns, inner);
    const auto b = need(weights, bias, columns, 1);
    return Linear(context, precision_, w.data, b.data, columns, inner, factors.data);
  };
  Block block;
  block.norm1 = LayerNorm(weights, key + ".ln_1", settings.eps);
  block.norm2 = LayerNorm(weights, key + ".ln_2", settings.eps);
  const auto w = need(weights, key + ".attn.in_proj_weight", 3 * width_, width_);
  const auto bias = need(weights, key + ".attn.in_proj_bias", 3 * width_, 1);
  if (pools) {
    const std::int64_t matrix = width_ * width_;
    block.qkv = Linear(context, precision_, w.data, bias.data, width_, width_, nullptr, settings.query_scale());
    block.pooled_attention = PooledAttention(context, precision_, w.data + matrix, w.data + 2 * matrix,
                                             bias.data + 2 * width_, width_, width_, heads_);
  } else {
    std::vector<float> scales(static_cast<std::size_t>(3 * width_), 1.0f);
    std::fill_n(scales.begin(), width_, settings.query_scale());
    block.qkv = Linear(context, precision_, w.data, bias.data, 3 * width_, width_, scales.data());
  }
  block.out =
      linear(key + ".attn.out_proj.weight", key + ".attn.out_proj.bias", width_, width_, weights(key + ".ls_1.gamma"));
  block.up = linear(key + ".mlp.c_fc.weight", key + ".mlp.c_fc.bias", mlp_width_, width_, {});
  block.down =
      linear(key + ".mlp.c_proj.weight", key + ".mlp.c_proj.bias", width_, mlp_width_, weights(key + ".ls_2.gamma"));
  return block;
}

std::size_t Transformer::bytes() const {
  std::size_t n = 0;
  for (const auto& b : blocks_) {
    n += b.qkv.bytes() + b.pooled_attention.bytes() + b.out.bytes() + b.up.bytes() + b.down.bytes();
  }
  return n;
}

void Transformer::run(const Context& context, Arena& arena, const PackedSequences& sequences, const Matrix& x,
                      Cancel cancel) const {
  for (const Block& block : blocks_) {
    check_cancel(cancel);
    add_attention(context, arena, block, sequences, x);
    add_feed_forward(context, arena, block, x);
  }
}

void Transformer::run_pooled(const Context& context, Arena& arena, const PackedSequences& sequences, const Matrix& x,
                             const std::vector<std::int64_t>& pooled, const Matrix& out, Cancel cancel) const {
  for (std::size_t i = 0; i + 1 < blocks_.size(); ++i) {
    check_cancel(cancel);
    add_attention(context, arena, blocks_[i], sequences, x);
    add_feed_forward(context, arena, blocks_[i], x);
  }
  check_cancel(cancel);
  const Block& last = blocks_.back();
  for (std::int64_t s = 0; s < out.rows; ++s) std::copy_n(x.row<float>(item(pooled, s)), width_, out.row<float>(s));
  add_pooled_attention(context, arena, last, sequences, x, pooled, out);
  add_feed_forward(context, arena, last, out);
}

void Transformer::add_attention(const Context& context, Arena& arena, const Block& block,
                                const PackedSequences& sequences, const Matrix& x) const {
  const Arena::Scope scope(arena);
  const Matrix input = linear_input(context, arena, x, pre_norm(block.norm1), type_);
  const Matrix qkv = arena.matrix(x.rows, 3 * width_, attention_type_);
  block.qkv.multiply(context, input, qkv);
  const Matrix attention_out = arena.matrix(x.rows, width_, branch_type_);
  attend(context, arena, sequences, heads_, causal_, qkv, attention_out);
  add_linear(context, arena, block.out, attention_out, block.norm1, x);
}

void Transformer::add_pooled_attention(const Context& context, Arena& arena, const Block& block,
                                       const PackedSequences& sequences, const ConstMatrix& x,
                                       const std::vector<std::int64_t>& pooled, const Matrix& pooled_rows) const {
  const Arena::Scope scope(arena);
  std::vector<PooledAttention::Span> spans;
  for (std::int64_t s = 0; s < sequences.count(); ++s) {
    if (const auto* rows = sequences.rows(s)) {
      spans.push_back({0, sequences.key_count(s), rows});
      continue;
    }
    // It attends to nothing after itself.
    const std::int64_t end = causal_ ? item(pooled, s) + 1 : sequences.end(s);
    spans.push_back({sequences.start(s), end - (sequences.excludes_itself(s) ? 1 : 0)});
  }
  const PooledAttention& attention = block.pooled_attention;
  const Matrix tokens = linear_input(context, arena, x, pre_norm(block.norm1), attention.type());
  const Matrix input = linear_input(context, arena, pooled_rows, pre_norm(block.norm1), type_);
  const Matrix queries = arena.matrix(pooled_rows.rows, width_, attention.type());
  block.qkv.multiply(context, input, queries);
  const Matrix attention_out = arena.matrix(pooled_rows.rows, width_, branch_type_);
  attention.run(context, arena, queries, tokens, spans, attention_out);
  add_linear(context, arena, block.out, attention_out, block.norm1, pooled_rows);
}

void Transformer::add_feed_forward(const Context& context, Arena& arena, const Block& block, const Matrix& x) const {
  const Arena::Scope scope(arena);
  const Matrix input = linear_input(context, arena, x, pre_norm(block.norm2), type_);
  const Matrix hidden = arena.matrix(x.rows, mlp_width_, branch_type_);
  block.up.multiply(context, input, hidden, {.activation = activation_});
  add_linear(context, arena, block.down, hidden, block.norm2, x);
}

void Transformer::add_linear(const Context& context, Arena& arena, const Linear& linear, const ConstMatrix& branch,
                             const LayerNorm& norm, const Matrix& x) const {
  linear.multiply(context, as_linear_input(context, arena, branch, type_), x, {.residual = x});
  if (post_norm_) norm.normalize(context, x, x);
}

}  // namespace torchclip::core
