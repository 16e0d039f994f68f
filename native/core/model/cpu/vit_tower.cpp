#include "model/cpu/vit_tower.h"

#include <algorithm>
#include <string>
#include <vector>

#include "model/cpu/chunking.h"
#include "model/cpu/projection.h"

namespace torchclip::core {

VitTower::VitTower(const Context& context, Precision precision, const Weights& weights, const VitSettings& settings,
                   std::int64_t embed_dim, const PixelTable& pixels)
    : precision_(precision),
      settings_(settings),
      embed_dim_(embed_dim),
      embedding_(context, precision, weights, settings, pixels) {
  const std::int64_t width = settings_.width;
  if (settings_.pre_norm) pre_norm_ = LayerNorm(weights, "visual.ln_pre", settings_.eps);
  final_norm_ = LayerNorm(weights, "visual.ln_post", settings_.eps);
  transformer_ = Transformer(context, precision, weights, "visual.transformer.resblocks.", settings_, false,
                             settings_.pool == VitSettings::Pool::token);
  if (const auto matrix = weights("visual.proj"); matrix.data) {
    projection_ = projection_of(context, matrix, weights("visual.proj_bias").data);
  }
  const std::string key = "visual.attn_pool";
  if (settings_.pool == VitSettings::Pool::map) {
    const auto query = map_query(settings_, weights);
    const auto w = need(weights, key + ".in_proj_weight"), b = need(weights, key + ".in_proj_bias");
    const std::int64_t matrix = width * width;
    pool_.attention = PooledAttention(context, precision, w.data + matrix, w.data + 2 * matrix, b.data + 2 * width,
                                      width, width, settings_.pool_heads);
    pool_.attention.fix_query(context, query.data());
    pool_.out = linear_of(context, Precision::fp32, weights, key + ".out_proj");
    pool_.norm = LayerNorm(weights, key + ".norm", settings_.eps);
    pool_.up = linear_of(context, Precision::fp32, weights, key + ".mlp.fc1");
    pool_.down = linear_of(context, Precision::fp32, weights, key + ".mlp.fc2");
  } else if (settings_.pool == VitSettings::Pool::queries) {
    const auto query = first_query(settings_, weights, embed_dim);
    pool_.norm = LayerNorm(weights, key + ".ln_k", settings_.eps);
    const auto k = need(weights, key + ".attn.k_proj_weight", embed_dim, width);
    const auto v = need(weights, key + ".attn.v_proj_weight", embed_dim, width);
    const auto bias = need(weights, key + ".attn.in_proj_bias", 3 * embed_dim, 1);
    pool_.attention = PooledAttention(context, precision, k.data, v.data, bias.data + 2 * embed_dim, embed_dim, width,
                                      settings_.pool_heads);
    pool_.attention.fix_query(context, query.data());
    pool_.out = linear_of(context, Precision::fp32, weights, key + ".attn.out_proj");
  }
}

std::size_t VitTower::bytes() const {
  return embedding_.bytes() + projection_.bytes() + transformer_.bytes() + pool_.attention.bytes() + pool_.out.bytes() +
         pool_.up.bytes() + pool_.down.bytes();
}

void VitTower::encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows,
                      float* out, Cancel cancel) const {
  in_chunks(settings_, rows, [&](std::int64_t begin, std::int64_t count) {
    encode_chunk(context, workspace, pixels + begin * settings_.bytes(), count, out + begin * embed_dim_, cancel);
  });
}

void VitTower::encode_chunk(const Context& context, Workspace& w, const std::uint8_t* pixels, std::int64_t rows,
                            float* out, Cancel cancel) const {
  const std::int64_t width = settings_.width, patches = settings_.patches(), length = settings_.length();
  const std::int64_t extra = length - patches;
  w.x.grow(static_cast<std::size_t>(rows * length * width) * 4);
  float* x = w.x.as<float>();
  embedding_.run(context, w, pixels, rows, x);
  PackedSequences sequences;
  std::vector<std::int64_t> first;
  for (std::int64_t r = 0; r <= rows; ++r) sequences.starts.push_back(r * length);
  for (std::int64_t r = 0; r < rows; ++r) {
    first.push_back(r * length);
  }
  if (settings_.pre_norm) normalize(context, pre_norm_, x, rows * length, width);
  if (settings_.pool == VitSettings::Pool::token) {
    transformer_.run(context, w, sequences, first.data(), cancel);
    project(context, &final_norm_, projection_, w.few.as<float>(), rows, width, out);
    return;
  }
  transformer_.run(context, w, sequences, nullptr, cancel);
  const bool attends = settings_.pool == VitSettings::Pool::map || settings_.pool == VitSettings::Pool::queries;
  const bool before = settings_.pool == VitSettings::Pool::map ||
                      (settings_.pool == VitSettings::Pool::average && !settings_.norm_after_pool);
  const std::int64_t wide = attends ? pool_.attention.width() : width;
  w.few.grow(static_cast<std::size_t>(rows * wide) * 4);
  float* pooled = w.few.as<float>();
  if (before) normalize(context, final_norm_, x, rows * length, width);
  if (attends) {
    pool_attention(context, w, sequences, pooled);
  } else {
    context.pool.parallel_for(rows, [&](std::int64_t r) {
      float* to = pooled + r * width;
      std::fill_n(to, width, 0.0f);
      for (std::int64_t i = extra; i < length; ++i) {
        const float* from = x + (r * length + i) * width;
        for (std::int64_t d = 0; d < width; ++d) to[d] += from[d];
      }
      for (std::int64_t d = 0; d < width; ++d) to[d] /= static_cast<float>(patches);
    });
  }
  project(context, before ? nullptr : &final_norm_, projection_, pooled, rows, wide, out);
}

void VitTower::pool_attention(const Context& context, Workspace& w, const PackedSequences& sequences,
                              float* pooled) const {
  const auto& p = pool_;
  const std::int64_t width = settings_.width, wide = p.attention.width(), rows = sequences.count();
  const auto tokens = convert(context, w.x.as<float>(), width, sequences.tokens(), width, p.up ? nullptr : &p.norm,
                              p.attention.type(), w, w.input);
  std::vector<PooledAttention::Span> spans;
  for (std::int64_t s = 0; s < rows; ++s) spans.push_back({sequences.starts[s], sequences.starts[s + 1]});
  w.mixed.grow(static_cast<std::size_t>(rows * wide) * 4);
  p.attention.run(context, w, {}, tokens, spans, {w.mixed.as<void>(), wide});
  p.out.multiply(context, {w.mixed.as<void>(), wide * 4}, rows, {pooled, wide});
  if (!p.up) return;
  const std::int64_t mlp = p.up.columns();
  const auto normed = convert(context, pooled, wide, rows, wide, &p.norm, DType::f32, w, w.input);
  w.hidden.grow(static_cast<std::size_t>(rows * mlp) * 4);
  p.up.multiply(context, normed, rows, {w.hidden.as<void>(), mlp, DType::f32, settings_.activation});
  p.down.multiply(context, {w.hidden.as<void>(), mlp * 4}, rows,
                  {pooled, wide, DType::f32, Activation::none, pooled, wide});
}

}  // namespace torchclip::core
