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
  if (settings_.pre_norm) pre_norm_ = LayerNorm(weights, "visual.ln_pre", settings_.eps);
  final_norm_ = LayerNorm(weights, "visual.ln_post", settings_.eps);
  transformer_ = Transformer(context, precision, weights, "visual.transformer.resblocks.", settings_, false,
                             settings_.pool == VitSettings::Pool::token);
  if (const auto matrix = weights("visual.proj"); matrix.data) {
    projection_ = projection_of(context, matrix, weights("visual.proj_bias").data);
  }
  const std::string key = "visual.attn_pool";
  if (settings_.pool == VitSettings::Pool::map) pool_ = make_map_pool(context, weights, key);
  if (settings_.pool == VitSettings::Pool::queries) pool_ = make_query_pool(context, weights, key);
}

AttentionPool VitTower::make_map_pool(const Context& context, const Weights& weights, const std::string& key) const {
  const std::int64_t width = settings_.width, matrix = width * width;
  const auto query = map_query(settings_, weights);
  const auto w = need(weights, key + ".in_proj_weight"), b = need(weights, key + ".in_proj_bias");
  AttentionPool pool;
  pool.attention = PooledAttention(context, precision_, w.data + matrix, w.data + 2 * matrix, b.data + 2 * width, width,
                                   width, settings_.pool_heads);
  pool.attention.fix_query(context, query.data());
  pool.out = linear_of(context, Precision::fp32, weights, key + ".out_proj");
  pool.norm = LayerNorm(weights, key + ".norm", settings_.eps);
  pool.up = linear_of(context, Precision::fp32, weights, key + ".mlp.fc1");
  pool.down = linear_of(context, Precision::fp32, weights, key + ".mlp.fc2");
  return pool;
}

AttentionPool VitTower::make_query_pool(const Context& context, const Weights& weights, const std::string& key) const {
  const std::int64_t width = settings_.width;
  const auto query = first_query(settings_, weights, embed_dim_);
  AttentionPool pool;
  pool.norm = LayerNorm(weights, key + ".ln_k", settings_.eps);
  const auto k = need(weights, key + ".attn.k_proj_weight", embed_dim_, width);
  const auto v = need(weights, key + ".attn.v_proj_weight", embed_dim_, width);
  const auto bias = need(weights, key + ".attn.in_proj_bias", 3 * embed_dim_, 1);
  pool.attention = PooledAttention(context, precision_, k.data, v.data, bias.data + 2 * embed_dim_, embed_dim_, width,
                                   settings_.pool_heads);
  pool.attention.fix_query(context, query.data());
  pool.out = linear_of(context, Precision::fp32, weights, key + ".attn.out_proj");
  return pool;
}

std::size_t VitTower::bytes() const {
  return embedding_.bytes() + projection_.bytes() + transformer_.bytes() + pool_.attention.bytes() + pool_.out.bytes() +
         pool_.up.bytes() + pool_.down.bytes();
}

void VitTower::encode(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output,
                      const Matrix& out, Cancel cancel) const {
  in_chunks(settings_, pixels, out, [&](const std::uint8_t* chunk, const Matrix& chunk_out) {
    encode_chunk(context, arena, chunk, output, chunk_out, cancel);
  });
}

void VitTower::encode_chunk(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output,
                            const Matrix& out, Cancel cancel) const {
  const Arena::Scope scope(arena);
  const std::int64_t images = out.rows, width = settings_.width, length = settings_.length();
  const Matrix x = arena.dense(images * length, width);
  embedding_.run(context, arena, pixels, x);
  if (settings_.pre_norm) pre_norm_.normalize(context, x, x);
  const auto sequences = PackedSequences::uniform(images, length);

  if (settings_.pool == VitSettings::Pool::token) {
    const Matrix pooled = arena.dense(images, width);
    const std::vector<std::int64_t> class_tokens(sequences.starts.begin(), sequences.starts.end() - 1);
    transformer_.run_pooled(context, arena, sequences, x, class_tokens, pooled, cancel);
    return project(context, &final_norm_, projection_for(output, projection_), pooled, out);
  }

  transformer_.run(context, arena, sequences, x, cancel);
  const bool averages = settings_.pool == VitSettings::Pool::average;
  const bool norm_before_pool = averages ? !settings_.norm_after_pool : settings_.pool == VitSettings::Pool::map;
  if (norm_before_pool) final_norm_.normalize(context, x, x);
  const Matrix pooled = arena.dense(images, averages ? width : pool_.attention.width());
  if (averages) {
    pool_average(context, x, pooled);
  } else {
    pool_attention(context, arena, x, pooled);
  }
  project(context, norm_before_pool ? nullptr : &final_norm_, projection_for(output, projection_), pooled, out);
}

void VitTower::pool_average(const Context& context, const ConstMatrix& x, const Matrix& pooled) const {
  const std::int64_t width = settings_.width, patches = settings_.patches(), length = settings_.length();
  context.pool.parallel_for(pooled.rows, [&](std::int64_t image) {
    float* to = pooled.row<float>(image);
    std::fill_n(to, width, 0.0f);
    for (std::int64_t i = length - patches; i < length; ++i) {
      const float* from = x.row<float>(image * length + i);
      for (std::int64_t d = 0; d < width; ++d) to[d] += from[d];
    }
    for (std::int64_t d = 0; d < width; ++d) to[d] /= static_cast<float>(patches);
  });
}

void VitTower::pool_attention(const Context& context, Arena& arena, const ConstMatrix& x, const Matrix& pooled) const {
  const Arena::Scope scope(arena);
  const std::int64_t length = settings_.length();
  std::vector<PooledAttention::Span> spans;
  for (std::int64_t image = 0; image < pooled.rows; ++image) spans.push_back({image * length, (image + 1) * length});
  const LayerNorm* norm = pool_.up ? nullptr : &pool_.norm;
  const Matrix tokens = linear_input(context, arena, x, norm, pool_.attention.type());
  const Matrix attention_out = arena.dense(pooled.rows, pooled.columns);
  pool_.attention.run(context, arena, {}, tokens, spans, attention_out);
  pool_.out.multiply(context, attention_out, pooled);
  if (pool_.up) add_pool_feed_forward(context, arena, pooled);
}

void VitTower::add_pool_feed_forward(const Context& context, Arena& arena, const Matrix& pooled) const {
  const Arena::Scope scope(arena);
  const Matrix input = linear_input(context, arena, pooled, &pool_.norm, DType::f32);
  const Matrix hidden = arena.dense(pooled.rows, pool_.up.columns());
  pool_.up.multiply(context, input, hidden, {.activation = settings_.activation});
  pool_.down.multiply(context, hidden, pooled, {.residual = pooled});
}

}  // namespace torchclip::core
