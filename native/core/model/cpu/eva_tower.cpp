#include "model/cpu/eva_tower.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/cpu/attention.h"
#include "model/cpu/chunking.h"
#include "model/cpu/projection.h"

namespace torchclip::core {
namespace {

constexpr float kRotaryGrid = 16;  // positions are scaled to the 16 x 16 grid of the training (timm's ref_feat_shape)
constexpr float kTemperature = 10000;

VitSettings settings_of(const Json& config) {
  VitSettings s;
  static_cast<BlockSettings&>(s) = BlockSettings(config, Activation::gelu, 1e-6f);
  s.read_sizes(config);
  s.class_token = true;
  return s;
}

}  // namespace

EvaTower::EvaTower(const Context& context, Precision precision, const Weights& weights, const Json& config,
                   std::int64_t embed_dim, const PixelTable& pixels)
    : precision_(precision),
      type_(input_type(context, precision)),
      settings_(settings_of(config)),
      embed_dim_(embed_dim),
      rotary_(config["rotary"].boolean()),
      inner_norm_(config["innerNorm"].boolean()),
      post_norm_(config["postNorm"].boolean()),
      embedding_(context, precision, weights, settings_, pixels),
      final_norm_(weights, "visual.ln_post", settings_.eps) {
  const std::int64_t width = settings_.width, head = width / settings_.heads;
  const bool gated = config["gated"].boolean();
  for (std::int64_t i = 0; i < settings_.layers; ++i) {
    const std::string key = "visual.blocks." + std::to_string(i);
    Block b;
    b.norm1 = LayerNorm(weights, key + ".norm1", settings_.eps);
    b.norm2 = LayerNorm(weights, key + ".norm2", settings_.eps);
    if (inner_norm_) b.inner = LayerNorm(weights, key + ".attn.norm", settings_.eps);
    const auto in = need(weights, key + ".attn.in_proj_weight", 3 * width, width);
    const auto q = need(weights, key + ".attn.q_bias", width, 1), v = need(weights, key + ".attn.v_bias", width, 1);
    std::vector<float> bias(static_cast<std::size_t>(3 * width), 0.0f), scale(bias.size(), 1.0f);
    std::copy_n(q.data, width, bias.begin());
    std::copy_n(v.data, width, bias.begin() + 2 * width);
    std::fill_n(scale.begin(), width, settings_.query_scale());
    b.in = Linear(context, precision, in.data, bias.data(), 3 * width, width, scale.data());
    b.out = linear_of(context, precision, weights, key + ".attn.proj");
    if (gated) b.gate = linear_of(context, precision, weights, key + ".mlp.fc1_g");
    b.up = linear_of(context, precision, weights, key + (gated ? ".mlp.fc1_x" : ".mlp.fc1"));
    if (gated) b.mlp_norm = LayerNorm(weights, key + ".mlp.norm", settings_.eps);
    // What a gate makes has outliers that int8 does not hold: there the second layer runs as bf16.
    b.down = linear_of(context, gated ? without_int8(precision) : precision, weights, key + ".mlp.fc2");
    blocks_.push_back(std::move(b));
  }
  if (const auto matrix = weights("visual.proj"); matrix.data) {
    projection_ = projection_of(context, matrix, weights("visual.proj_bias").data);
  }
  // timm's RotaryEmbeddingCat: half of a head's pairs turn with the row, half with the column.
  for (std::int64_t p = 0; rotary_ && p < settings_.patches(); ++p) {
    for (std::int64_t d = 0; d < head; ++d) {
      const std::int64_t pair = d / 2, bands = head / 4;
      const float band = std::pow(kTemperature, -static_cast<float>(pair % bands) / static_cast<float>(bands));
      const auto place = static_cast<float>(pair < bands ? p / settings_.grid : p % settings_.grid);
      const float angle = place / static_cast<float>(settings_.grid) * kRotaryGrid * band;
      sines_.push_back(std::sin(angle));
      cosines_.push_back(std::cos(angle));
    }
  }
}

std::size_t EvaTower::bytes() const {
  std::size_t n = embedding_.bytes() + projection_.bytes();
  for (const auto& b : blocks_) n += b.in.bytes() + b.out.bytes() + b.gate.bytes() + b.up.bytes() + b.down.bytes();
  return n;
}

void EvaTower::encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows,
                      float* out, Cancel cancel) const {
  in_chunks(settings_, rows, [&](std::int64_t begin, std::int64_t count) {
    encode_chunk(context, workspace, pixels + begin * settings_.bytes(), count, out + begin * embed_dim_, cancel);
  });
}

// Pairs of the queries and keys of patches, transposed by the angles of their places.
void EvaTower::rotate(const Context& context, float* qkv, std::int64_t rows) const {
  const std::int64_t width = settings_.width, head = width / settings_.heads, patches = settings_.patches();
  context.pool.parallel_for(rows * patches, [&](std::int64_t task) {
    const std::int64_t image = task / patches, p = task % patches;
    float* token = qkv + (image * (patches + 1) + 1 + p) * 3 * width;
    const float *sine = &sines_[p * head], *cosine = &cosines_[p * head];
    for (std::int64_t at = 0; at < 2 * width; at += head) {  // heads of the queries, then of the keys
      float* x = token + at;
      for (std::int64_t d = 0; d < head; d += 2) {
        const float a = x[d], b = x[d + 1];
        x[d] = a * cosine[d] - b * sine[d];
        x[d + 1] = b * cosine[d + 1] + a * sine[d + 1];
      }
    }
  });
}

// From the workspace's qkv to `mixed`, float [rows * length, width], or [rows, width] for the class token alone.
void EvaTower::attend(const Context& context, Workspace& w, std::int64_t rows, bool class_alone) const {
  const std::int64_t width = settings_.width, heads = settings_.heads, head = width / heads;
  const std::int64_t length = settings_.length();
  Attention common;
  common.ldq = common.ldk = 3 * width;
  common.ldo = width;
  common.queries = class_alone ? 1 : length;
  common.keys = length;
  common.width = head;
  attend_heads(context, w, rows, heads, length, common, [&](std::int64_t image, Attention& t) {
    const float* qkv = w.qkv.as<float>() + image * length * 3 * width;
    t.q = qkv;
    t.k = qkv + width;
    t.v = qkv + 2 * width;
    t.out = w.mixed.as<float>() + image * common.queries * width;
  });
}

void EvaTower::add(const Context& context, Workspace& w, const Linear& linear, const Linear::Input& in,
                   const LayerNorm& norm, float* x, std::int64_t rows) const {
  const std::int64_t width = settings_.width;
  if (!post_norm_) return linear.multiply(context, in, rows, {x, width, DType::f32, Activation::none, x, width});
  w.mixed.grow(static_cast<std::size_t>(rows * width) * 4);
  float* branch = w.mixed.as<float>();
  linear.multiply(context, in, rows, {branch, width});
  context.pool.parallel_for(rows, [&](std::int64_t r) {
    float *from = branch + r * width, *to = x + r * width;
    context.kernels.layer_norm(from, width, 1, width, norm.gamma.data, norm.beta.data, norm.eps, DType::f32, from,
                               width * 4, nullptr, nullptr);
    for (std::int64_t i = 0; i < width; ++i) to[i] += from[i];
  });
}

void EvaTower::encode_chunk(const Context& context, Workspace& w, const std::uint8_t* pixels, std::int64_t rows,
                            float* out, Cancel cancel) const {
  const std::int64_t width = settings_.width, length = settings_.length(), tokens = rows * length;
  const std::int64_t mlp = settings_.mlp_width;
  w.x.grow(static_cast<std::size_t>(tokens * width) * 4);
  w.few.grow(static_cast<std::size_t>(rows * width) * 4);
  w.qkv.grow(static_cast<std::size_t>(tokens * std::max(3 * width, mlp)) * 4);
  w.mixed.grow(static_cast<std::size_t>(tokens * width) * 4);
  w.hidden.grow(static_cast<std::size_t>(tokens * mlp) * 4);
  float* x = w.x.as<float>();
  embedding_.run(context, w, pixels, rows, x);
  const auto input_of = [&](DType type, const float* from, std::int64_t count, std::int64_t wide,
                            const LayerNorm* norm) {
    return convert(context, from, wide, count, wide, norm, type, w, w.input);
  };
  const auto input = [&](const float* from, std::int64_t count, const LayerNorm* norm) {
    return input_of(type_, from, count, width, norm);
  };
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    check_cancel(cancel);
    const Block& b = blocks_[i];
    const bool last = i + 1 == blocks_.size();  // where the class token alone matters
    b.in.multiply(context, input(x, tokens, post_norm_ ? nullptr : &b.norm1), tokens, {w.qkv.as<void>(), 3 * width});
    if (rotary_) rotate(context, w.qkv.as<float>(), rows);
    attend(context, w, rows, last);
    float* residual = x;
    std::int64_t count = tokens;
    if (last) {
      count = rows;
      residual = w.few.as<float>();
      for (std::int64_t r = 0; r < rows; ++r) {
        std::memcpy(residual + r * width, x + r * length * width, static_cast<std::size_t>(width) * 4);
      }
    }
    add(context, w, b.out, input(w.mixed.as<float>(), count, inner_norm_ ? &b.inner : nullptr), b.norm1, residual,
        count);
    const auto y = input(residual, count, post_norm_ ? nullptr : &b.norm2);
    float* hidden = w.hidden.as<float>();
    b.up.multiply(context, y, count, {hidden, mlp, DType::f32, b.gate ? Activation::none : settings_.activation});
    if (b.gate) {
      float* gate = w.qkv.as<float>();
      b.gate.multiply(context, y, count, {gate, mlp, DType::f32, Activation::silu});
      context.pool.parallel_for(count, [&](std::int64_t r) {
        for (std::int64_t d = r * mlp; d < (r + 1) * mlp; ++d) hidden[d] *= gate[d];
      });
    }
    add(context, w, b.down, input_of(b.down.type(), hidden, count, mlp, b.gate ? &b.mlp_norm : nullptr), b.norm2,
        residual, count);
  }
  project(context, &final_norm_, projection_, w.few.as<float>(), rows, width, out);
}

}  // namespace torchclip::core
