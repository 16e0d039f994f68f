#include "model/cpu/eva_tower.h"

#include <algorithm>
#include <cmath>

#include "base/item.h"
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
                   const PixelTable& pixels)
    : precision_(precision),
      type_(input_type(context, precision)),
      settings_(settings_of(config)),
      rotary_(config["rotary"].boolean()),
      inner_norm_(config["innerNorm"].boolean()),
      post_norm_(config["postNorm"].boolean()),
      embedding_(context, precision, weights, settings_, pixels),
      final_norm_(weights, "visual.ln_post", settings_.eps) {
  const bool gated = config["gated"].boolean();
  for (std::int64_t i = 0; i < settings_.layers; ++i) {
    blocks_.push_back(make_block(context, weights, "visual.blocks." + std::to_string(i), gated));
  }
  if (const auto matrix = weights("visual.proj"); matrix.data) {
    projection_ = projection_of(context, matrix, weights("visual.proj_bias").data);
  }
  if (rotary_) make_rotary_positions();
}

EvaTower::Block EvaTower::make_block(const Context& context, const Weights& weights, const std::string& key,
                                     bool gated) const {
  const std::int64_t width = settings_.width;
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
  b.in = Linear(context, precision_, in.data, bias.data(), 3 * width, width, scale.data());
  b.out = linear_of(context, precision_, weights, key + ".attn.proj");
  if (gated) b.gate = linear_of(context, precision_, weights, key + ".mlp.fc1_g");
  b.up = linear_of(context, precision_, weights, key + (gated ? ".mlp.fc1_x" : ".mlp.fc1"));
  if (gated) b.mlp_norm = LayerNorm(weights, key + ".mlp.norm", settings_.eps);
  // The products with a gate have outliers that int8 does not hold, so the second layer then runs as bf16.
  b.down = linear_of(context, gated ? without_int8(precision_) : precision_, weights, key + ".mlp.fc2");
  return b;
}

// timm's RotaryEmbeddingCat: half of a head's pairs turn with the row, half with the column.
void EvaTower::make_rotary_positions() {
  const std::int64_t head = settings_.width / settings_.heads, bands = head / 4;
  for (std::int64_t p = 0; p < settings_.patches(); ++p) {
    for (std::int64_t d = 0; d < head; ++d) {
      const std::int64_t pair = d / 2;
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

void EvaTower::encode(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output,
                      const Matrix& out, Cancel cancel) const {
  in_chunks(settings_, pixels, out, [&](const std::uint8_t* chunk, const Matrix& chunk_out) {
    encode_chunk(context, arena, chunk, output, chunk_out, cancel);
  });
}

void EvaTower::encode_chunk(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output,
                            const Matrix& out, Cancel cancel) const {
  const Arena::Scope scope(arena);
  const std::int64_t images = out.rows, width = settings_.width, length = settings_.length();
  const Matrix x = arena.dense(images * length, width);
  const Matrix class_tokens = arena.dense(images, width);
  embedding_.run(context, arena, pixels, x);
  for (std::size_t i = 0; i + 1 < blocks_.size(); ++i) {
    check_cancel(cancel);
    add_attention(context, arena, blocks_[i], x, x);
    add_feed_forward(context, arena, blocks_[i], x);
  }
  // After the last block only the class tokens are needed.
  check_cancel(cancel);
  for (std::int64_t image = 0; image < images; ++image) {
    std::copy_n(x.row<float>(image * length), width, class_tokens.row<float>(image));
  }
  add_attention(context, arena, blocks_.back(), x, class_tokens);
  add_feed_forward(context, arena, blocks_.back(), class_tokens);
  project(context, &final_norm_, projection_for(output, projection_), class_tokens, out);
}

void EvaTower::add_attention(const Context& context, Arena& arena, const Block& block, const ConstMatrix& x,
                             const Matrix& out) const {
  const Arena::Scope scope(arena);
  const std::int64_t width = settings_.width;
  const Matrix attention_out = arena.dense(out.rows, width);
  {
    const Arena::Scope attention_scope(arena);
    const Matrix qkv = arena.dense(x.rows, 3 * width);
    block.in.multiply(context, linear_input(context, arena, x, pre_norm(block.norm1), type_), qkv);
    if (rotary_) rotate(context, qkv);
    attend(context, arena, qkv, attention_out);
  }
  const Matrix input = linear_input(context, arena, attention_out, inner_norm_ ? &block.inner : nullptr, type_);
  add_linear(context, arena, block.out, input, block.norm1, out);
}

void EvaTower::rotate(const Context& context, const Matrix& qkv) const {
  const std::int64_t width = settings_.width, head = width / settings_.heads;
  const std::int64_t patches = settings_.patches(), length = settings_.length();
  context.pool.parallel_for(qkv.rows / length * patches, [&](std::int64_t task) {
    const std::int64_t image = task / patches, p = task % patches;
    float* token = qkv.row<float>(image * length + 1 + p);
    const float *sine = &item(sines_, p * head), *cosine = &item(cosines_, p * head);
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

void EvaTower::attend(const Context& context, Arena& arena, const ConstMatrix& qkv, const Matrix& out) const {
  const std::int64_t width = settings_.width, length = settings_.length(), images = qkv.rows / length;
  Attention common;
  common.queries = out.rows / images;
  common.keys = length;
  common.width = width / settings_.heads;
  common.ldq = common.ldk = qkv.stride;
  common.ldo = out.stride;
  attend_heads(context, arena, images, settings_.heads, length, common, [&](std::int64_t image, Attention& t) {
    const float* first = qkv.row<float>(image * length);
    t.q = first;
    t.k = first + width;
    t.v = first + 2 * width;
    t.out = out.row<float>(image * common.queries);
  });
}

void EvaTower::add_feed_forward(const Context& context, Arena& arena, const Block& block, const Matrix& x) const {
  const Arena::Scope scope(arena);
  const std::int64_t mlp_width = settings_.mlp_width;
  const Matrix hidden = arena.dense(x.rows, mlp_width);
  {
    const Arena::Scope gate_scope(arena);
    const Matrix input = linear_input(context, arena, x, pre_norm(block.norm2), type_);
    block.up.multiply(context, input, hidden, {.activation = block.gate ? Activation::none : settings_.activation});
    if (block.gate) {
      const Matrix gate = arena.dense(x.rows, mlp_width);
      block.gate.multiply(context, input, gate, {.activation = Activation::silu});
      context.pool.parallel_for(x.rows, [&](std::int64_t r) {
        float* to = hidden.row<float>(r);
        const float* factor = gate.row<float>(r);
        for (std::int64_t d = 0; d < mlp_width; ++d) to[d] *= factor[d];
      });
    }
  }
  const LayerNorm* norm = block.gate ? &block.mlp_norm : nullptr;
  add_linear(context, arena, block.down, linear_input(context, arena, hidden, norm, block.down.type()), block.norm2, x);
}

void EvaTower::add_linear(const Context& context, Arena& arena, const Linear& linear, const ConstMatrix& input,
                          const LayerNorm& norm, const Matrix& x) const {
  if (!post_norm_) return linear.multiply(context, input, x, {.residual = x});
  const Arena::Scope scope(arena);
  const Matrix branch = arena.dense(x.rows, x.columns);
  linear.multiply(context, input, branch);
  norm.normalize(context, branch, branch);
  context.pool.parallel_for(x.rows, [&](std::int64_t r) {
    float* to = x.row<float>(r);
    const float* from = branch.row<float>(r);
    for (std::int64_t i = 0; i < x.columns; ++i) to[i] += from[i];
  });
}

}  // namespace torchclip::core
