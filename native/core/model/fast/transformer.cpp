#include "model/fast/transformer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/error.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kRowsOfTask = 16;

}  // namespace

Norm::Norm(const Weights& weights, const std::string& key, float epsilon)
    : gamma(need(weights, key + ".weight")), beta(weights(key + ".bias")), eps(epsilon) {}

std::size_t Workspace::bytes() const {
  std::size_t n = 0;
  for (const Buffer* b : {&x, &input, &qkv, &mixed, &hidden, &few, &scratch, &scales, &sums}) n += b->bytes();
  return n;
}

Linear::Input convert(const Context& context, const float* x, std::int64_t stride, std::int64_t rows,
                      std::int64_t width, const Norm* norm, Type type, Workspace& workspace, Buffer& to) {
  const std::int64_t bytes = row_stride(type, width);
  to.grow(static_cast<std::size_t>(rows * bytes));
  workspace.scales.grow(static_cast<std::size_t>(rows) * 4);
  workspace.sums.grow(static_cast<std::size_t>(rows) * 4);
  auto* scales = workspace.scales.as<float>();
  auto* sums = workspace.sums.as<std::int32_t>();
  context.team.each((rows + kRowsOfTask - 1) / kRowsOfTask, [&](std::int64_t task) {
    const std::int64_t first = task * kRowsOfTask, n = std::min(kRowsOfTask, rows - first);
    context.kernels.layerNorm(x + first * stride, stride, n, width, norm ? norm->gamma.data : nullptr,
                              norm ? norm->beta.data : nullptr, norm ? norm->eps : 0, type,
                              to.as<char>() + first * bytes, bytes, scales + first, sums + first);
  });
  return {to.as<void>(), bytes, scales, sums};
}

void normalize(const Context& context, const Norm& norm, float* x, std::int64_t rows, std::int64_t width) {
  context.team.each((rows + kRowsOfTask - 1) / kRowsOfTask, [&](std::int64_t task) {
    const std::int64_t first = task * kRowsOfTask, n = std::min(kRowsOfTask, rows - first);
    context.kernels.layerNorm(x + first * width, width, n, width, norm.gamma.data, norm.beta.data, norm.eps, Type::f32,
                              x + first * width, width * 4, nullptr, nullptr);
  });
}

void attend_once(const Context& context, Workspace& workspace, const float* queries, std::int64_t query_stride,
                 const float* key_values, std::int64_t rows, std::int64_t length, std::int64_t width,
                 std::int64_t heads, float* out) {
  const std::int64_t head = width / heads, floats = attention_scratch(length, head);
  workspace.scratch.grow(static_cast<std::size_t>(rows * floats) * 4);
  context.team.each(rows, [&](std::int64_t r) {
    for (std::int64_t h = 0; h < heads; ++h) {
      Attention t;
      t.q = queries + r * query_stride + h * head;
      t.ldq = width;
      t.k = key_values + r * length * 2 * width + h * head;
      t.v = t.k + width;
      t.ldk = 2 * width;
      t.queries = 1;
      t.keys = length;
      t.width = head;
      t.out = out + r * width + h * head;
      t.ldo = width;
      t.scratch = workspace.scratch.as<float>() + r * floats;
      context.kernels.attention(t);
    }
  });
}

Transformer::Transformer(const Context& context, Type type, const Weights& weights, const std::string& prefix,
                         const BlockSettings& settings, bool causal)
    : type_(type),
      width_(settings.width),
      heads_(settings.heads),
      mlp_(settings.mlpWidth),
      causal_(causal),
      normsAfter_(settings.normsAfter),
      activation_(settings.activation) {
  const float eps = settings.eps, scale = settings.query_scale();
  const std::int64_t layers = settings.layers;
  const auto linear = [&](const std::string& weight, const std::string& bias, std::int64_t columns, std::int64_t inner,
                          const Tensor& factors) {
    const auto w = need(weights, weight, columns, inner);
    const auto b = need(weights, bias, columns, 1);
    return Linear(context, type, w.data, b.data, columns, inner, factors.data);
  };
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string key = prefix + std::to_string(i);
    Block b;
    b.norm1 = Norm(weights, key + ".ln_1", eps);
    b.norm2 = Norm(weights, key + ".ln_2", eps);
    const auto w = need(weights, key + ".attn.in_proj_weight", 3 * width_, width_);
    const auto bias = need(weights, key + ".attn.in_proj_bias", 3 * width_, 1);
    if (i + 1 == layers) {
      b.query = Linear(context, type, w.data, bias.data, width_, width_, nullptr, scale);
      b.keyValue = Linear(context, type, w.data + width_ * width_, bias.data + width_, 2 * width_, width_);
    } else {
      std::vector<float> scales(3 * width_, 1.0f);
      std::fill_n(scales.begin(), width_, scale);
      b.query = Linear(context, type, w.data, bias.data, 3 * width_, width_, scales.data());
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
    n += b.query.bytes() + b.keyValue.bytes() + b.out.bytes() + b.up.bytes() + b.down.bytes();
  }
  return n;
}

void Transformer::attend(const Context& context, Workspace& workspace, const Sequences& sequences,
                         const std::int64_t* pooled, const float* queries, std::int64_t query_stride, const float* keys,
                         std::int64_t key_stride, void* out, Type out_type) const {
  const std::int64_t stride = row_stride(out_type, width_) / size_of(out_type);
  const std::int64_t head = width_ / heads_;
  std::int64_t longest = 0;
  for (std::int64_t s = 0; s < sequences.count(); ++s) {
    longest = std::max(longest, sequences.starts[s + 1] - sequences.starts[s]);
  }
  // Each task its own scratch memory: as many tasks as threads, each taking several heads.
  const std::int64_t floats = attention_scratch(longest, head);
  const std::int64_t work = sequences.count() * heads_;
  const std::int64_t tasks = std::min<std::int64_t>(work, context.team.size() == 1 ? 1 : context.team.size() * 4);
  workspace.scratch.grow(static_cast<std::size_t>(tasks * floats) * 4);
  context.team.each(tasks, [&](std::int64_t task) {
    for (std::int64_t i = task * work / tasks; i < (task + 1) * work / tasks; ++i) {
      const std::int64_t s = i / heads_, column = i % heads_ * head, start = sequences.starts[s];
      Attention t;
      t.keys = sequences.starts[s + 1] - start;
      t.width = head;
      t.queries = pooled ? 1 : t.keys;
      const std::int64_t row = pooled ? s : start;
      t.q = queries + row * query_stride + column;
      t.ldq = query_stride;
      t.k = keys + start * key_stride + column;
      t.v = t.k + width_;
      t.ldk = key_stride;
      const bool blind = !sequences.blind.empty() && sequences.blind[s];
      if (pooled && causal_) t.keys = pooled[s] - start + 1;  // nothing after it is seen
      if (blind) t.keys -= 1;
      if (blind && !pooled) t.queries -= 1;
      t.causal = causal_ && !pooled;
      t.out = static_cast<char*>(out) + (row * stride + column) * size_of(out_type);
      t.ldo = stride;
      t.outType = out_type;
      t.scratch = workspace.scratch.as<float>() + task * floats;
      context.kernels.attention(t);
      if (blind && !pooled) {  // the last token: all but itself
        t.q += t.queries * query_stride;
        t.out = static_cast<char*>(t.out) + t.queries * stride * size_of(out_type);
        t.queries = 1;
        t.causal = false;
        context.kernels.attention(t);
      }
    }
  });
}

void Transformer::feed_forward(const Context& context, Workspace& workspace, const Block& block, float* x,
                               std::int64_t rows) const {
  const auto in = convert(context, x, width_, rows, width_, normsAfter_ ? nullptr : &block.norm2, type_, workspace,
                          workspace.input);
  // int8 needs a row's largest value before it can be stored, so the hidden layer is float32 first.
  const Type kept = type_ == Type::s8 ? Type::f32 : type_;
  const std::int64_t bytes = row_stride(kept, mlp_), stride = bytes / size_of(kept);
  workspace.hidden.grow(static_cast<std::size_t>(rows * bytes));
  block.up.multiply(context, in, rows, {workspace.hidden.as<void>(), stride, kept, activation_});
  Linear::Input hidden{workspace.hidden.as<void>(), bytes};
  if (kept != type_) {
    hidden =
        convert(context, workspace.hidden.as<float>(), stride, rows, mlp_, nullptr, type_, workspace, workspace.input);
  }
  block.down.multiply(context, hidden, rows, {x, width_, Type::f32, Activation::none, x, width_});
  if (normsAfter_) normalize(context, block.norm2, x, rows, width_);
}

void Transformer::run(const Context& context, Workspace& w, const Sequences& sequences, const std::int64_t* pooled,
                      Cancel cancel) const {
  const std::int64_t tokens = sequences.tokens(), count = sequences.count();
  float* x = w.x.as<float>();
  const Type kept = type_ == Type::s8 ? Type::f32 : type_;
  const std::int64_t three = spread(3 * width_ * 4) / 4, two = spread(2 * width_ * 4) / 4;
  w.qkv.grow(static_cast<std::size_t>(tokens * (two + three)) * 4);
  w.mixed.grow(static_cast<std::size_t>(tokens * row_stride(kept, width_)));
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    check_cancel(cancel);
    const Block& b = blocks_[i];
    const bool last = i + 1 == blocks_.size();
    const Norm* before = normsAfter_ ? nullptr : &b.norm1;
    const auto in = convert(context, x, width_, tokens, width_, before, type_, w, w.input);
    float* qkv = w.qkv.as<float>();
    std::int64_t rows = tokens;
    float* residual = x;
    if (!last) {
      b.query.multiply(context, in, tokens, {qkv, three});
      attend(context, w, sequences, nullptr, qkv, three, qkv + width_, three, w.mixed.as<void>(), kept);
    } else {
      b.keyValue.multiply(context, in, tokens, {qkv, two});
      float* queries = qkv + tokens * two;
      if (pooled) {
        rows = count;
        w.few.grow(static_cast<std::size_t>(count * width_) * 4);
        residual = w.few.as<float>();
        for (std::int64_t s = 0; s < count; ++s) {
          std::memcpy(residual + s * width_, x + pooled[s] * width_, static_cast<std::size_t>(width_) * 4);
        }
        const auto few = convert(context, residual, width_, count, width_, before, type_, w, w.input);
        b.query.multiply(context, few, count, {queries, width_});
      } else {
        b.query.multiply(context, in, tokens, {queries, width_});
      }
      attend(context, w, sequences, pooled, queries, width_, qkv, two, w.mixed.as<void>(), kept);
    }
    Linear::Input mixed{w.mixed.as<void>(), row_stride(kept, width_)};
    if (kept != type_)
      mixed =
          convert(context, w.mixed.as<float>(), mixed.stride / size_of(kept), rows, width_, nullptr, type_, w, w.input);
    b.out.multiply(context, mixed, rows, {residual, width_, Type::f32, Activation::none, residual, width_});
    if (normsAfter_) normalize(context, b.norm1, residual, rows, width_);
    feed_forward(context, w, b, residual, rows);
  }
}

}  // namespace torchclip::core
