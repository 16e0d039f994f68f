// RoBERTa and XLM-R (Conneau et al. 2019) as open_clip's text encoder: mean of the tokens, then a projection.
#include "model/config/source.h"

namespace torchclip::core {
namespace {

struct Roberta {
  std::int64_t width, layers, heads, mlp_width, context_length, vocab_size, positions, pad_id, projection_width;
  double eps;
  bool mean, mlp;

  explicit Roberta(Fields& fields)
      : width(fields.whole("width", 1, kMostWidth)),
        layers(fields.whole("layers", 1, kMostLayers)),
        heads(fields.whole("heads", 1, kMostWidth)),
        mlp_width(fields.whole("mlpWidth", 1, kMostWidth)),
        context_length(fields.whole("contextLength", 1, kMostTokens)),
        vocab_size(fields.whole("vocabSize", 1, kMostVocabulary)),
        positions(fields.whole("positions", 1, 2 * kMostTokens)),
        pad_id(fields.whole("padId", 0, vocab_size - 1)),
        projection_width(fields.whole("projectionWidth", 1, kMostWidth)),
        eps(fields.number("eps", 1e-12, 1)),
        mean(fields.choice("pool", {"mean", "cls"}) == "mean"),
        mlp(fields.choice("projection", {"linear", "mlp"}) == "mlp") {
    if (width % heads != 0) fields.fail("heads", "does not divide the width");
    // Token i of a text has position pad_id + 1 + i.
    if (positions < context_length + pad_id + 1) fields.fail("positions", "are fewer than the context needs");
  }
};

Shapes shapes_of(const Roberta& c, std::int64_t embed_dim) {
  Shapes shapes;
  shapes["text.embeddings.word"] = {c.vocab_size, c.width};
  shapes["text.embeddings.position"] = {c.positions, c.width};
  shapes["text.embeddings.token_type"] = {1, c.width};
  norm_shapes(shapes, "text.embeddings.norm", c.width);
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const auto layer = "text.layers." + std::to_string(i);
    shapes[layer + ".attn.in_proj_weight"] = {3 * c.width, c.width};
    shapes[layer + ".attn.in_proj_bias"] = {3 * c.width};
    linear_shapes(shapes, layer + ".attn.out_proj", c.width, c.width);
    norm_shapes(shapes, layer + ".ln_1", c.width);
    linear_shapes(shapes, layer + ".mlp.c_fc", c.mlp_width, c.width);
    linear_shapes(shapes, layer + ".mlp.c_proj", c.width, c.mlp_width);
    norm_shapes(shapes, layer + ".ln_2", c.width);
  }
  if (c.mlp) {
    shapes["text.proj.0"] = {c.projection_width, c.width};
    shapes["text.proj.2"] = {embed_dim, c.projection_width};
  } else {
    shapes["text.proj.0"] = {embed_dim, c.width};
  }
  return shapes;
}

std::string layer_source(const Roberta& c) {
  const auto width = std::to_string(c.width);
  return forward_source(
      "x: Tensor, mask: Tensor",
      {"b = x.size(0)", "n = x.size(1)", "qkv = torch.linear(x, self.attn.in_proj_weight, self.attn.in_proj_bias)",
       "qkv = qkv.view([b, n, 3, " + std::to_string(c.heads) + ", " + std::to_string(c.width / c.heads) +
           "]).permute([2, 0, 3, 1, 4])",
       "a = torch.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], mask)",
       "a = " + linear_source("a.transpose(1, 2).reshape([b, n, " + width + "])", "attn.out_proj"),
       "x = " + layer_norm_source("x + a", "ln_1", c.width, c.eps),
       "h = torch.gelu(" + linear_source("x", "mlp.c_fc") + ")",
       "return " + layer_norm_source("x + " + linear_source("h", "mlp.c_proj"), "ln_2", c.width, c.eps)});
}

std::string tower_source(const Roberta& c) {
  const auto pad = std::to_string(c.pad_id);
  const auto project = [](const char* n) { return "torch.linear(x, getattr(self.proj, \"" + std::string(n) + "\"))"; };
  std::vector<std::string> lines = {"seen = text != " + pad,
                                    "ones = seen.to(text.dtype)",
                                    "at = ones.cumsum(1) * ones + " + pad,
                                    "x = torch.embedding(self.embeddings.word, text) + self.embeddings.token_type[0]",
                                    "x = x + torch.embedding(self.embeddings.position, at)",
                                    "x = " + layer_norm_source("x", "embeddings.norm", c.width, c.eps),
                                    "mask = torch.zeros_like(text, dtype=x.dtype).masked_fill(text == " + pad +
                                        ", float(\"-inf\")).view([text.size(0), 1, 1, text.size(1)])",
                                    "x = self.layers.forward(x, mask)"};
  if (c.mean) {
    lines.push_back("w = seen.to(x.dtype).unsqueeze(2)");
    lines.push_back("x = (x * w).sum([1]) / w.sum([1])");
  } else {
    lines.push_back("x = x.select(1, 0)");
  }
  lines.push_back("x = " + project("0"));
  lines.push_back(c.mlp ? "x = torch.gelu(x)" : "");
  if (c.mlp) lines.push_back("x = " + project("2"));
  lines.push_back("return x");
  return forward_source("text: Tensor", lines);
}

}  // namespace

TowerLayout roberta_layout(const Json& config, std::int64_t embed_dim) {
  const auto c = read_settings<Roberta>(config, "text");
  TowerLayout layout;
  layout.shapes = shapes_of(c, embed_dim);
  repeat_module(layout.modules, "text.layers.", c.layers, layer_source(c));
  layout.modules.push_back({"text.layers", stack_source(c.layers, "", "mask")});
  layout.modules.push_back({"text", tower_source(c)});
  layout.context_length = c.context_length;
  layout.vocab_size = c.vocab_size;
  layout.trims = true;  // padding is masked
  return layout;
}

}  // namespace torchclip::core
