#include "model/cpu/transformer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace torchclip::core {

Transformer::Transformer(const Context& context, Precision precision, const Weights& weights, const std::string& prefix,
                         const BlockSettings& settings, bool causal, bool pools)
    : precision_(precision),
      type_(input_type(context, precision)),
      width_(settings.width),
      heads_(settings.heads),
      mlp_(settings.mlp_width),
      causal_(causal),
      post_norm_(settings.post_norm),
      pools_(pools),
      activation_(settings.activation) {
  const float eps = settings.eps, scale = settings.query_scale();
  const std::int64_t layers = settings.layers;
  const auto linear = [&](const std::string& weight, const std::string& bias, std::int64_t columns, std::int64_t inner,
                          const Tensor& factors) {
    const auto w = need(weights, weight, columns, inner);
    const auto b = need(weights, bias, columns, 1);
    return Linear(context, precision, w.data, b.data, columns, inner, factors.data);
  };
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string key = prefix + std::to_string(i);
    Block b;
    b.norm1 = LayerNorm(weights, key + ".ln_1", eps);
    b.norm2 = LayerNorm(weights, key + ".ln_2", eps);
    const auto w = need(weights, key + ".attn.in_proj_weight", 3 * width_, width_);
    const auto bias = need(weights, key + ".attn.in_proj_bias", 3 * width_, 1);
    if (pools && i + 1 == layers) {
      const std::int64_t matrix = width_ * width_;
      b.qkv = Linear(context, precision, w.data, bias.data, width_, width_, nullptr, scale);
      b.pool = PooledAttention(context, precision, w.data + matrix, w.data + 2 * matrix, bias.data + 2 * width_, width_,
                               width_, heads_);
    } else {
      std::vector<float> scales(3 * width_, 1.0f);
      std::fill_n(scales.begin(), width_, scale);
      b.qkv = Linear(context, precision, w.data, bias.data, 3 * width_, width_, scales.data());
    }
    b.out = linear(key + ".attn.out_proj.weight", key + ".attn.out_proj.bias", width_, width_,
                   weights(key + ".ls_1.gamma"));
    b.up = linear(key + ".mlp.c_fc.weight", key + ".mlp.c_fc.bias", mlp_, width_, {});
    b.down = linear(key + ".mlp.c_proj.weight", key + ".mlp.c_proj.bias", width_, mlp_, weights(key + ".ls_2.gamma"));
    blocks_.push_back(std::move(b));
  }
}

std::size_t Transformer::bytes() const {
  std::size_t n = 0;
  for (const auto& b : blocks_) {
    n += b.qkv.bytes() + b.pool.bytes() + b.out.bytes() + b.up.bytes() + b.down.bytes();
  }
  return n;
}

void Transformer::attend(const Context& context, Workspace& w, const Block& block, const PackedSequences& sequences,
                         DType kept) const {
  const std::int64_t tokens = sequences.tokens(), head = width_ / heads_;
  const DType type = attention_type(context, precision_, head);
  const std::int64_t bytes = row_stride(type, 3 * width_), part = width_ * size_of(type);
  const std::int64_t out_bytes = row_stride(kept, width_);
  w.qkv.grow(static_cast<std::size_t>(tokens * bytes));
  w.mixed.grow(static_cast<std::size_t>(tokens * out_bytes));
  const auto in =
      convert(context, w.x.as<float>(), width_, tokens, width_, post_norm_ ? nullptr : &block.norm1, type_, w, w.input);
  block.qkv.multiply(context, in, tokens, {w.qkv.as<void>(), bytes / size_of(type), type});
  std::int64_t longest = 0;
  for (std::int64_t s = 0; s < sequences.count(); ++s) longest = std::max(longest, sequences.key_count(s));
  Attention common;
  common.type = type;
  common.width = head;
  common.ldq = common.ldk = bytes / size_of(type);
  common.out_type = kept;
  common.ldo = out_bytes / size_of(kept);
  // `skipped`: queries before those that are computed.
  const auto place = [&](std::int64_t s, std::int64_t skipped, Attention& t) {
    const char* row = w.qkv.as<char>() + sequences.starts[s] * bytes;
    t.q = row + skipped * bytes;
    t.rows = sequences.rows(s);
    if (t.rows) row = w.qkv.as<char>();
    t.k = row + part;
    t.v = row + 2 * part;
    t.out = w.mixed.as<char>() + (sequences.starts[s] + skipped) * out_bytes;
  };
  attend_heads(context, w, sequences.count(), heads_, longest, common, [&](std::int64_t s, Attention& t) {
    const int unseen = sequences.excludes_itself(s) ? 1 : 0;
    t.queries = sequences.length(s) - unseen;
    t.keys = sequences.key_count(s) - unseen;
    t.causal = causal_;
    place(s, 0, t);
  });
  if (sequences.excludes_self.empty()) return;
  // A last token that does not see itself sees all the others.
  attend_heads(context, w, sequences.count(), heads_, longest, common, [&](std::int64_t s, Attention& t) {
    t.keys = sequences.length(s) - 1;
    t.queries = sequences.excludes_itself(s) ? 1 : 0;
    place(s, t.keys, t);
  });
}

void Transformer::attend_pooled(const Context& context, Workspace& w, const Block& block,
                                const PackedSequences& sequences, const std::int64_t* pooled, DType kept) const {
  const std::int64_t tokens = sequences.tokens(), count = sequences.count();
  const LayerNorm* before = post_norm_ ? nullptr : &block.norm1;
  const DType type = block.pool.type();
  const float* x = w.x.as<float>();
  w.few.grow(static_cast<std::size_t>(count * width_) * 4);
  float* few = w.few.as<float>();
  std::vector<PooledAttention::Span> spans;
  for (std::int64_t s = 0; s < count; ++s) {
    std::memcpy(few + s * width_, x + pooled[s] * width_, static_cast<std::size_t>(width_) * 4);
    if (const auto* rows = sequences.rows(s)) {
      spans.push_back({0, sequences.key_count(s), rows});
      continue;
    }
    const std::int64_t end = causal_ ? pooled[s] + 1 : sequences.starts[s + 1];  // nothing after it is seen
    spans.push_back({sequences.starts[s], end - (sequences.excludes_itself(s) ? 1 : 0)});
  }
  const auto all = convert(context, x, width_, tokens, width_, before, type, w, w.hidden);
  const auto asking = convert(context, few, width_, count, width_, before, type_, w, w.input);
  const std::int64_t bytes = row_stride(type, width_), out_bytes = row_stride(kept, width_);
  w.qkv.grow(static_cast<std::size_t>(count * bytes));
  w.mixed.grow(static_cast<std::size_t>(count * out_bytes));
  block.qkv.multiply(context, asking, count, {w.qkv.as<void>(), bytes / size_of(type), type});
  block.pool.run(context, w, {w.qkv.as<void>(), bytes}, all, spans,
                 {w.mixed.as<void>(), out_bytes / size_of(kept), kept});
}

void Transformer::feed_forward(const Context& context, Workspace& workspace, const Block& block, float* x,
                               std::int64_t rows) const {
  const auto in =
      convert(context, x, width_, rows, width_, post_norm_ ? nullptr : &block.norm2, type_, workspace, workspace.input);
  // int8 needs a row's largest value before it can be stored, so the hidden layer is float32 first.
  const DType kept = type_ == DType::s8 ? DType::f32 : type_;
  const std::int64_t bytes = row_stride(kept, mlp_), stride = bytes / size_of(kept);
  workspace.hidden.grow(static_cast<std::size_t>(rows * bytes));
  block.up.multiply(context, in, rows, {workspace.hidden.as<void>(), stride, kept, activation_});
  Linear::Input hidden{workspace.hidden.as<void>(), bytes};
  if (kept != type_) {
    hidden =
        convert(context, workspace.hidden.as<float>(), stride, rows, mlp_, nullptr, type_, workspace, workspace.input);
  }
  block.down.multiply(context, hidden, rows, {x, width_, DType::f32, Activation::none, x, width_});
  if (post_norm_) normalize(context, block.norm2, x, rows, width_);
}

void Transformer::run(const Context& context, Workspace& w, const PackedSequences& sequences,
                      const std::int64_t* pooled, Cancel cancel) const {
  const DType kept = type_ == DType::s8 ? DType::f32 : type_;  // of what attention gives
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    check_cancel(cancel);
    const Block& b = blocks_[i];
    const bool last = pools_ && i + 1 == blocks_.size();
    if (last) {
      attend_pooled(context, w, b, sequences, pooled, kept);
    } else {
      attend(context, w, b, sequences, kept);
    }
    const std::int64_t rows = last ? sequences.count() : sequences.tokens();
    float* residual = last ? w.few.as<float>() : w.x.as<float>();
    Linear::Input mixed{w.mixed.as<void>(), row_stride(kept, width_)};
    if (kept != type_) {
      mixed =
          convert(context, w.mixed.as<float>(), mixed.stride / size_of(kept), rows, width_, nullptr, type_, w, w.input);
    }
    b.out.multiply(context, mixed, rows, {residual, width_, DType::f32, Activation::none, residual, width_});
    if (post_norm_) normalize(context, b.norm1, residual, rows, width_);
    feed_forward(context, w, b, residual, rows);
  }
}

}  // namespace torchclip::core
