// The Vision Transformer in all the forms that CLIP models use: OpenAI's (Radford et al. 2021; openai/CLIP,
// clip/model.py), open_clip's H, g, bigG, CLIPA and CoCa, and SigLIP's with its attention pooling (Zhai et al. 2023).
#include "base/error.h"
#include "model/config/source.h"

namespace torchclip::core {
namespace {

struct StemStep {
  std::int64_t kernel, width;
};

struct Vit {
  BlockLayout blocks;
  std::int64_t patch, image_size, grid, pool_heads, pool_mlp_width;
  bool patch_bias, class_token, class_position, pre_norm, norm_after_pool, projection, projection_bias;
  std::string pool;
  std::vector<StemStep> stem;

  explicit Vit(Fields& fields);
};

std::vector<StemStep> stem_of(Fields& fields, std::int64_t patch, std::int64_t width) {
  std::vector<StemStep> stem;
  std::int64_t product = 1;
  for (const auto& step : fields.objects_or_none("stem", 8)) {
    Fields step_fields(step, "image.stem");
    stem.push_back({step_fields.whole("kernel", 1, 64), step_fields.whole("width", 1, kMostWidth)});
    step_fields.finish();
    product *= stem.back().kernel;
    if (product > patch) break;
  }
  if (!stem.empty() && (product != patch || stem.back().width != width)) {
    fields.fail("stem", "does not make patches of the patch size and the width");
  }
  return stem;
}

Vit::Vit(Fields& fields)
    : blocks(fields),
      patch(fields.whole("patchSize", 1, kMostPixels)),
      image_size(fields.whole("imageSize", 1, kMostPixels)),
      grid(image_size / patch),
      pool_heads(fields.whole("poolHeads", 1, kMostWidth)),
      pool_mlp_width(fields.whole("poolMlpWidth", 0, kMostWidth)),
      patch_bias(fields.boolean("patchBias")),
      class_token(fields.boolean("classToken")),
      class_position(fields.boolean_or("classPosition", class_token)),
      pre_norm(fields.boolean("preNorm")),
      norm_after_pool(fields.boolean("normAfterPool")),
      projection(fields.boolean("projection")),
      projection_bias(fields.boolean("projectionBias")),
      pool(fields.choice("pool", {"token", "average", "map", "queries"})),
      stem(stem_of(fields, patch, blocks.width)) {
  if (grid < 1) fields.fail("patchSize", "is larger than the image");
  if (class_position && !class_token) fields.fail("classPosition", "needs a class token");
  if (pool == "token" && !class_token) fields.fail("pool", "needs a class token");
  if (pool == "map" && (blocks.width % pool_heads != 0 || pool_mlp_width < 1)) {
    fields.fail("poolHeads", "and poolMlpWidth do not fit the width");
  }
  if (projection_bias && !projection) fields.fail("projectionBias", "needs a projection");
  if (!stem.empty() && patch_bias) fields.fail("patchBias", "stands beside a stem");
}

std::string stem_at(std::size_t i) { return "getattr(self.stem, \"" + std::to_string(i) + "\")"; }

Shapes shapes_of(const Vit& c, std::int64_t embed_dim, const LoraLayout* lora) {
  Shapes shapes;
  const auto width = c.blocks.width;
  if (c.stem.empty()) shapes["visual.conv1.weight"] = {width, 3, c.patch, c.patch};
  for (std::size_t i = 0; i < c.stem.size(); ++i) {
    const auto key = "visual.stem." + std::to_string(i);
    const auto& [kernel, out] = c.stem[i];
    shapes[key + ".conv.weight"] = {out, i ? c.stem[i - 1].width : 3, kernel, kernel};
    if (i + 1 == c.stem.size()) {
      shapes[key + ".conv.bias"] = {out};
    } else {
      batch_norm_shapes(shapes, key + ".bn", out);
    }
  }
  if (c.patch_bias) shapes["visual.conv1.bias"] = {width};
  if (c.class_token) shapes["visual.class_embedding"] = {width};
  shapes["visual.positional_embedding"] = {c.grid * c.grid + (c.class_position ? 1 : 0), width};
  if (c.pre_norm) norm_shapes(shapes, "visual.ln_pre", width);
  block_shapes(shapes, "visual.transformer", c.blocks, lora);
  const auto last = c.pool == "queries" ? embed_dim : width;
  norm_shapes(shapes, "visual.ln_post", last);
  const std::string pool = "visual.attn_pool";
  if (c.pool == "map") {
    shapes[pool + ".latent"] = {1, width};
    shapes[pool + ".in_proj_weight"] = {3 * width, width};
    shapes[pool + ".in_proj_bias"] = {3 * width};
    linear_shapes(shapes, pool + ".out_proj", width, width);
    norm_shapes(shapes, pool + ".norm", width);
    linear_shapes(shapes, pool + ".mlp.fc1", c.pool_mlp_width, width);
    linear_shapes(shapes, pool + ".mlp.fc2", width, c.pool_mlp_width);
  } else if (c.pool == "queries") {
    shapes[pool + ".query"] = {-1, embed_dim};  // as many as there are; the first one counts
    norm_shapes(shapes, pool + ".ln_q", embed_dim);
    norm_shapes(shapes, pool + ".ln_k", width);
    shapes[pool + ".attn.q_proj_weight"] = {embed_dim, embed_dim};
    shapes[pool + ".attn.k_proj_weight"] = {embed_dim, width};
    shapes[pool + ".attn.v_proj_weight"] = {embed_dim, width};
    shapes[pool + ".attn.in_proj_bias"] = {3 * embed_dim};
    linear_shapes(shapes, pool + ".attn.out_proj", embed_dim, embed_dim);
  }
  if (c.projection) shapes["visual.proj"] = {last, embed_dim};
  if (c.projection_bias) shapes["visual.proj_bias"] = {embed_dim};
  return shapes;
}

std::vector<std::string> stem_lines(const Vit& c) {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < c.stem.size(); ++i) {
    const auto at = stem_at(i), kernel = std::to_string(c.stem[i].kernel);
    const bool last = i + 1 == c.stem.size();
    const auto conv = "torch.conv2d(x, " + at + ".conv.weight, " + (last ? at + ".conv.bias" : "None") + ", [" +
                      kernel + ", " + kernel + "])";
    lines.push_back(last ? "x = " + conv : "x = torch.gelu(" + batch_norm_source(conv, at + ".bn", "1e-05") + ")");
  }
  return lines;
}

std::vector<std::string> pool_lines(const Vit& c) {
  const auto post = "x = " + layer_norm_source("x", "ln_post", c.blocks.width, c.blocks.eps);
  if (c.pool == "token") return {"x = x.select(1, 0)", post};  // a layer norm works on each token alone
  if (c.pool == "map") return {post, "x = self.attn_pool.forward(x)"};
  if (c.pool == "queries") {
    return {"x = self.attn_pool.forward(x)",
            "x = torch.layer_norm(x, [x.size(1)], self.ln_post.weight, self.ln_post.bias, " +
                number_text(c.blocks.eps) + ")"};
  }
  const std::string patches = c.class_token ? "x.narrow(1, 1, x.size(1) - 1)" : "x";
  const auto mean = "x = " + patches + ".mean([1])";
  if (c.norm_after_pool) return {mean, post};
  return {post, mean};
}

// One learned query attends to all tokens, then a residual MLP (big_vision's MAPHead).
std::string map_pool_source(const Vit& c) {
  const auto width = std::to_string(c.blocks.width), heads = std::to_string(c.pool_heads);
  const auto head = std::to_string(c.blocks.width / c.pool_heads);
  return forward_source(
      "x: Tensor",
      {"b = x.size(0)", "n = x.size(1)", "wq = self.in_proj_weight.narrow(0, 0, " + width + ")",
       "bq = self.in_proj_bias.narrow(0, 0, " + width + ")",
       "wkv = self.in_proj_weight.narrow(0, " + width + ", " + std::to_string(2 * c.blocks.width) + ")",
       "bkv = self.in_proj_bias.narrow(0, " + width + ", " + std::to_string(2 * c.blocks.width) + ")",
       "q = torch.linear(self.latent, wq, bq).view([1, 1, " + heads + ", " + head + "]).transpose(1, 2).expand([b, " +
           heads + ", 1, " + head + "])",
       "kv = torch.linear(x, wkv, bkv).view([b, n, 2, " + heads + ", " + head + "]).permute([2, 0, 3, 1, 4])",
       "a = torch.scaled_dot_product_attention(q, kv[0], kv[1])",
       "a = " + linear_source("a.transpose(1, 2).reshape([b, " + width + "])", "out_proj"),
       "h = " + layer_norm_source("a", "norm", c.blocks.width, c.blocks.eps), "h = " + linear_source("h", "mlp.fc1"),
       "h = " + activation_source(c.blocks.activation, "h"), "return a + " + linear_source("h", "mlp.fc2")});
}

// open_clip's AttentionalPooler; only the first query reaches the contrastive embedding.
std::string query_pool_source(const Vit& c) {
  const auto heads = std::to_string(c.pool_heads), eps = number_text(c.blocks.eps);
  return forward_source(
      "x: Tensor",
      {"b = x.size(0)", "n = x.size(1)", "d = self.query.size(1)",
       "x = " + layer_norm_source("x", "ln_k", c.blocks.width, c.blocks.eps),
       "q = torch.layer_norm(self.query.narrow(0, 0, 1), [d], self.ln_q.weight, self.ln_q.bias, " + eps + ")",
       "q = torch.linear(q, self.attn.q_proj_weight, self.attn.in_proj_bias.narrow(0, 0, d))",
       "k = torch.linear(x, self.attn.k_proj_weight, self.attn.in_proj_bias.narrow(0, d, d))",
       "v = torch.linear(x, self.attn.v_proj_weight, self.attn.in_proj_bias.narrow(0, 2 * d, d))",
       "q = q.view([1, 1, " + heads + ", -1]).transpose(1, 2).expand([b, -1, -1, -1])",
       "k = k.view([b, n, " + heads + ", -1]).transpose(1, 2)", "v = v.view([b, n, " + heads + ", -1]).transpose(1, 2)",
       "a = torch.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape([b, d])",
       "return " + linear_source("a", "attn.out_proj")});
}

// Up to the pooled feature.
std::vector<std::string> tower_lines(const Vit& c) {
  const auto width = std::to_string(c.blocks.width), patch = std::to_string(c.patch);
  std::vector<std::string> lines;
  if (c.stem.empty()) {
    lines.push_back("x = torch.conv2d(image, self.conv1.weight, " +
                    std::string(c.patch_bias ? "self.conv1.bias" : "None") + ", [" + patch + ", " + patch + "])");
  } else {
    lines.push_back("x = image");
    for (auto& line : stem_lines(c)) lines.push_back(std::move(line));
  }
  lines.push_back("x = x.flatten(2).transpose(1, 2)");
  const std::string position = "x = x + self.positional_embedding";
  if (!c.class_position) lines.push_back(position);
  if (c.class_token) {
    lines.push_back("x = torch.cat([self.class_embedding.expand([x.size(0), 1, " + width + "]), x], 1)");
  }
  if (c.class_position) lines.push_back(position);
  if (c.pre_norm) lines.push_back("x = " + layer_norm_source("x", "ln_pre", c.blocks.width, c.blocks.eps));
  lines.push_back("x = self.transformer.forward(x)");
  for (auto& line : pool_lines(c)) lines.push_back(std::move(line));
  return lines;
}

std::string tower_source(const Vit& c) {
  auto lines = tower_lines(c);
  if (c.projection) lines.push_back("x = torch.matmul(x, self.proj)");
  if (c.projection_bias) lines.push_back("x = x + self.proj_bias");
  lines.push_back("return x");
  return forward_source("image: Tensor", lines);
}

}  // namespace

TowerLayout vit_layout(const Json& config, std::int64_t embed_dim, const LoraLayout* lora) {
  const auto c = read_settings<Vit>(config, "image");
  const bool queries = c.pool == "queries";
  if (queries && embed_dim % c.pool_heads != 0) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, "torchclip.json: image.poolHeads does not divide embedDim");
  }
  check_width("image", c.projection, queries ? embed_dim : c.blocks.width, embed_dim);
  TowerLayout layout;
  layout.shapes = shapes_of(c, embed_dim, lora);
  block_sources(layout.modules, "visual.transformer", c.blocks, Masking::none, lora);
  if (c.pool == "map") layout.modules.push_back({"visual.attn_pool", map_pool_source(c)});
  if (c.pool == "queries") layout.modules.push_back({"visual.attn_pool", query_pool_source(c)});
  layout.modules.push_back({"visual", tower_source(c)});
  layout.pooled_methods.push_back({"visual", pooled_source(tower_lines(c))});
  layout.pooled_dim = queries ? embed_dim : c.blocks.width;
  if (c.projection)
    layout.projection = {ProjectionKind::linear, "visual.proj", c.projection_bias ? "visual.proj_bias" : "", false};
  layout.image_size = c.image_size;
  return layout;
}

}  // namespace torchclip::core
