// CLIP's text encoder (openai/CLIP, clip/model.py; open_clip's TextTransformer; SigLIP's).
#include "model/config/source.h"

namespace torchclip::core {
namespace {

struct TextTransformer {
  BlockLayout blocks;
  std::int64_t context_length, vocab_size, end_id, pad_id;
  bool causal, appended_token, projection, projection_bias;
  std::string pool;

  explicit TextTransformer(Fields& fields)
      : blocks(fields),
        context_length(fields.whole("contextLength", 1, kMostTokens)),
        vocab_size(fields.whole("vocabSize", 1, kMostVocabulary)),
        end_id(fields.whole("endId", 0, kMostVocabulary)),  // in no text where it is beyond the vocabulary
        pad_id(fields.whole("padId", 0, vocab_size - 1)),
        causal(fields.boolean("causal")),
        appended_token(fields.boolean("appendedToken")),
        projection(fields.boolean("projection")),
        projection_bias(fields.boolean("projectionBias")),
        pool(fields.choice("pool", {"argmax", "eos", "last", "first"})) {
    if (projection_bias && !projection) fields.fail("projectionBias", "needs a projection");
  }
};

Shapes shapes_of(const TextTransformer& c, std::int64_t embed_dim, const LoraLayout* lora) {
  Shapes shapes;
  const auto width = c.blocks.width;
  shapes["text.token_embedding.weight"] = {c.vocab_size, width};
  if (c.appended_token) shapes["text.cls_emb"] = {width};
  shapes["text.positional_embedding"] = {c.context_length + (c.appended_token ? 1 : 0), width};
  block_shapes(shapes, "text.transformer", c.blocks, lora);
  norm_shapes(shapes, "text.ln_final", width);
  if (c.projection) shapes["text.text_projection"] = {width, embed_dim};
  if (c.projection_bias) shapes["text.text_projection_bias"] = {embed_dim};
  return shapes;
}

std::string pool_line(const TextTransformer& c) {
  const auto across_columns = ".view([-1, 1, 1]).expand([-1, 1, " + std::to_string(c.blocks.width) + "])";
  if (c.pool == "last" || c.appended_token) return "x = x.select(1, x.size(1) - 1)";
  if (c.pool == "first") return "x = x.select(1, 0)";
  const auto position = c.pool == "argmax" ? std::string("text.argmax(1)")
                                           : "(text == " + std::to_string(c.end_id) + ").to(text.dtype).argmax(1)";
  return "x = x.gather(1, " + position + across_columns + ").squeeze(1)";
}

// As open_clip trained CoCa: key j is seen where token j - 1 is no padding, and key 0 always.
std::vector<std::string> appended_token_lines(const TextTransformer& c) {
  return {"x = torch.cat([x, self.cls_emb.expand([x.size(0), 1, " + std::to_string(c.blocks.width) + "])], 1)",
          "n = x.size(1)",
          "seen = torch.cat([torch.ones_like(text.narrow(1, 0, 1)), (text != " + std::to_string(c.pad_id) +
              ").to(text.dtype)], 1)",
          "rows = torch.ones([n, n], dtype=x.dtype, device=x.device).tril()",
          "keep = rows.unsqueeze(0) * seen.to(x.dtype).unsqueeze(1)",
          "mask = torch.zeros_like(keep).masked_fill(keep == 0, float(\"-inf\")).unsqueeze(1)"};
}

std::string tower_source(const TextTransformer& c) {
  std::vector<std::string> lines = {"x = torch.embedding(self.token_embedding.weight, text)"};
  if (c.appended_token) {
    for (auto& line : appended_token_lines(c)) lines.push_back(std::move(line));
  }
  lines.push_back("x = x + self.positional_embedding.narrow(0, 0, x.size(1))");
  lines.push_back(std::string("x = self.transformer.forward(x") + (c.appended_token ? ", mask" : "") + ")");
  lines.push_back(pool_line(c));
  // Of one token alone: the same before and after pooling.
  lines.push_back("x = " + layer_norm_source("x", "ln_final", c.blocks.width, c.blocks.eps));
  if (c.projection) lines.push_back("x = torch.matmul(x, self.text_projection)");
  if (c.projection_bias) lines.push_back("x = x + self.text_projection_bias");
  lines.push_back("return x");
  return forward_source("text: Tensor", lines);
}

}  // namespace

TowerLayout text_transformer_layout(const Json& config, std::int64_t embed_dim, const LoraLayout* lora) {
  const auto c = read_settings<TextTransformer>(config, "text");
  check_width("text", c.projection, c.blocks.width, embed_dim);
  TowerLayout layout;
  layout.shapes = shapes_of(c, embed_dim, lora);
  const auto masking = c.appended_token ? Masking::mask : c.causal ? Masking::causal : Masking::none;
  block_sources(layout.modules, "text.transformer", c.blocks, masking, lora);
  layout.modules.push_back({"text", tower_source(c)});
  layout.context_length = c.context_length;
  layout.vocab_size = c.vocab_size;
  // Without what follows its end a causal text gives the same embedding.
  layout.trims = c.causal && c.pool != "last" && !c.appended_token;
  return layout;
}

}  // namespace torchclip::core
