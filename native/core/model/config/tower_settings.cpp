#include "model/config/tower_settings.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace torchclip::core {
namespace {

std::int64_t whole(const Json& value) { return static_cast<std::int64_t>(value.number()); }

bool plain_widths(const Json& config) { return whole(config["width"]) % 4 == 0 && whole(config["mlpWidth"]) % 4 == 0; }

Activation activation_named(const std::string& name) {
  if (name == "quick_gelu") return Activation::quick_gelu;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "gelu") return Activation::gelu;
  throw Error(TORCHCLIP_E_MODEL_CORRUPT, "the activation \"" + name + "\" is none of this version's");
}

}  // namespace

BlockSettings::BlockSettings(const Json& config)
    : BlockSettings(config, activation_named(config["activation"].text()), 1e-5f) {}

BlockSettings::BlockSettings(const Json& config, Activation activation_of_all, float default_eps)
    : width(whole(config["width"])),
      heads(whole(config["heads"])),
      layers(whole(config["layers"])),
      mlp_width(whole(config["mlpWidth"])),
      eps(static_cast<float>(config["eps"].number(default_eps))),
      activation(activation_of_all) {
  if (heads < 1) throw Error(TORCHCLIP_E_MODEL_CORRUPT, "the model's settings name no possible number of heads");
}

float BlockSettings::query_scale() const {
  return 1.0f / std::sqrt(static_cast<float>(width) / static_cast<float>(heads));
}

std::optional<VitSettings> VitSettings::of(const Json& config) {
  const auto pool = config["pool"].text();
  if (config["kind"].text() != "vit" || !plain_widths(config) ||
      (pool != "token" && pool != "average" && pool != "map" && pool != "queries")) {
    return {};
  }
  VitSettings s;
  static_cast<BlockSettings&>(s) = BlockSettings(config);
  s.pool = pool == "token"     ? Pool::token
           : pool == "average" ? Pool::average
           : pool == "map"     ? Pool::map
                               : Pool::queries;
  for (const auto& level : config["stem"].items()) s.stem.push_back(whole(level["kernel"]));
  s.read_sizes(config);
  if (!s.stem.empty()) {
    std::int64_t product = 1;
    for (const auto kernel : s.stem) product = kernel < 1 || kernel > s.patch ? 0 : product * kernel;
    if (product != s.patch) {
      throw Error(TORCHCLIP_E_MODEL_CORRUPT, "the image encoder's stem does not make its patches");
    }
  }
  s.pool_heads = whole(config["poolHeads"]);
  s.class_token = config["classToken"].boolean();
  s.pre_norm = config["preNorm"].boolean();
  s.norm_after_pool = config["normAfterPool"].boolean();
  return s;
}

void VitSettings::read_sizes(const Json& config) {
  size = whole(config["imageSize"]);
  patch = whole(config["patchSize"]);
  if (patch < 1 || size < patch || heads < 1) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, "the image encoder's settings name no possible size");
  }
  grid = size / patch;
}

VitEmbedding vit_embedding(const VitSettings& s, const Weights& weights) {
  VitEmbedding e;
  const std::int64_t width = s.width;
  const std::string conv =
      s.stem.empty() ? "visual.conv1" : "visual.stem." + std::to_string(s.stem.size() - 1) + ".conv";
  e.patches = need(weights, conv + ".weight");
  const auto positions = need(weights, "visual.positional_embedding");
  const std::int64_t extra = positions.rows() - s.patches();  // 1: the class token has a position of its own
  if (extra < 0 || extra > (s.class_token ? 1 : 0) || e.patches.rows() != width ||
      (s.stem.empty() && e.patches.inner() != s.patch_inner()) || positions.inner() != width) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, "the patch embedding has another shape than the model's settings say");
  }
  const auto bias = weights(conv + ".bias");
  e.positions.resize(static_cast<std::size_t>(s.patches() * width));
  float* to = e.positions.data();
  for (std::int64_t i = 0; i < s.patches() * width; ++i) {
    to[i] = positions.data[extra * width + i] + (bias.data ? bias.data[i % width] : 0.0f);
  }
  if (s.class_token) {
    const auto token = need(weights, "visual.class_embedding");
    e.class_row.assign(token.data, token.data + width);
    float* row = e.class_row.data();
    for (std::int64_t i = 0; extra && i < width; ++i) row[i] += positions.data[i];
  }
  return e;
}

namespace {

// A query of [dim] through its projection w [dim, dim] and b, divided by the square root of a head's width.
std::vector<float> projected_query(const float* w, const float* b, const std::vector<double>& query,
                                   std::int64_t heads) {
  const std::size_t dim = query.size();
  const double scale = 1.0 / std::sqrt(static_cast<double>(dim) / static_cast<double>(heads));
  std::vector<float> out(query.size());
  for (std::size_t i = 0; i < dim; ++i) {
    double sum = b[i];
    for (std::size_t j = 0; j < dim; ++j) sum += w[i * dim + j] * query[j];
    out[i] = static_cast<float>(sum * scale);
  }
  return out;
}

}  // namespace

std::vector<float> map_query(const VitSettings& s, const Weights& weights) {
  const auto w = need(weights, "visual.attn_pool.in_proj_weight", 3 * s.width, s.width);
  const auto b = need(weights, "visual.attn_pool.in_proj_bias", 3 * s.width, 1);
  const auto latent = need(weights, "visual.attn_pool.latent");
  return projected_query(w.data, b.data, {latent.data, latent.data + s.width}, s.pool_heads);
}

std::vector<float> first_query(const VitSettings& s, const Weights& weights, std::int64_t dim) {
  const auto w = need(weights, "visual.attn_pool.attn.q_proj_weight", dim, dim);
  const auto b = need(weights, "visual.attn_pool.attn.in_proj_bias", 3 * dim, 1);
  const auto queries = need(weights, "visual.attn_pool.query");
  const auto gamma = need(weights, "visual.attn_pool.ln_q.weight", dim, 1);
  const auto beta = need(weights, "visual.attn_pool.ln_q.bias", dim, 1);
  if (queries.inner() != dim || s.pool_heads < 1) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, "the pool's queries have another width than the model's settings say");
  }
  double mean = 0, variance = 0;
  for (std::int64_t i = 0; i < dim; ++i) mean += queries.data[i] / static_cast<double>(dim);
  for (std::int64_t i = 0; i < dim; ++i) {
    variance += (queries.data[i] - mean) * (queries.data[i] - mean) / static_cast<double>(dim);
  }
  std::vector<double> normed;
  for (std::int64_t i = 0; i < dim; ++i) {
    normed.push_back((queries.data[i] - mean) / std::sqrt(variance + s.eps) * gamma.data[i] + beta.data[i]);
  }
  return projected_query(w.data, b.data, normed, s.pool_heads);
}

std::optional<TextSettings> TextSettings::of(const Json& config) {
  if (config["kind"].text() != "transformer" || !plain_widths(config)) return {};
  TextSettings s;
  const auto pool = config["pool"].text();
  if (pool == "argmax") {
    s.pool = Pool::argmax;
  } else if (pool == "eos") {
    s.pool = Pool::eos;
  } else if (pool == "last") {
    s.pool = Pool::last;
  } else if (pool == "first") {
    s.pool = Pool::first;
  } else {
    return {};
  }
  static_cast<BlockSettings&>(s) = BlockSettings(config);
  s.causal = config["causal"].boolean();
  s.appended_token = config["appendedToken"].boolean();
  s.causal = s.causal || s.appended_token;
  s.end_id = static_cast<std::int32_t>(whole(config["endId"]));
  s.pad_id = static_cast<std::int32_t>(whole(config["padId"]));
  return s;
}

std::int64_t TextSettings::pooled_position(const std::int32_t* ids, std::int64_t length) const {
  switch (pool) {
    case Pool::argmax:
      return std::max_element(ids, ids + length) - ids;
    case Pool::eos: {
      const auto* found = std::find(ids, ids + length, end_id);
      return found == ids + length ? 0 : found - ids;
    }
    case Pool::last:
      return length - 1;
    default:
      return 0;
  }
}

}  // namespace torchclip::core
