#include "model/config/source.h"

#include <charconv>

#include "base/error.h"

namespace torchclip::core {

std::string number_text(double number) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::scientific).ptr;
  const std::string shortest(buffer, end);  // d.ddde[+-]dd
  const auto e = shortest.find('e');
  const int exponent = std::stoi(shortest.substr(e + 1));
  std::string digits = shortest.substr(0, 1);
  if (e > 2) digits += shortest.substr(2, e - 2);
  const auto count = static_cast<int>(digits.size());
  const auto size = [](int n) { return static_cast<std::size_t>(n); };
  // ECMA-262, Number::toString: plain notation for 1e-7 < number < 1e21.
  if (exponent >= 0 && exponent < 21) {
    if (count <= exponent + 1) return digits + std::string(size(exponent + 1 - count), '0');
    return digits.substr(0, size(exponent + 1)) + "." + digits.substr(size(exponent + 1));
  }
  if (exponent < 0 && exponent >= -6) return "0." + std::string(size(-exponent - 1), '0') + digits;
  const std::string sign = exponent < 0 ? "-" : "+";
  const std::string mantissa = count == 1 ? digits : digits.substr(0, 1) + "." + digits.substr(1);
  return mantissa + "e" + sign + std::to_string(std::abs(exponent));
}

std::string layer_norm_source(const std::string& x, const std::string& key, std::int64_t width, double eps) {
  return "torch.layer_norm(" + x + ", [" + std::to_string(width) + "], self." + key + ".weight, self." + key +
         ".bias, " + number_text(eps) + ")";
}

std::string linear_source(const std::string& x, const std::string& key) {
  return "torch.linear(" + x + ", self." + key + ".weight, self." + key + ".bias)";
}

std::string batch_norm_source(const std::string& x, const std::string& at, const std::string& eps) {
  return "torch.batch_norm(" + x + ", " + at + ".weight, " + at + ".bias, " + at + ".running_mean, " + at +
         ".running_var, False, 0.1, " + eps + ", False)";
}

std::string activation_source(const std::string& activation, const std::string& x) {
  if (activation == "quick_gelu") return x + " * torch.sigmoid(1.702 * " + x + ")";  // openai/CLIP, clip/model.py
  return activation == "gelu_tanh" ? "torch.gelu(" + x + ", approximate=\"tanh\")" : "torch.gelu(" + x + ")";
}

std::string stack_source(std::int64_t count, const std::string& list, const std::string& argument) {
  const std::string from = list.empty() ? "self" : "self." + list;
  std::vector<std::string> lines;
  for (std::int64_t i = 0; i < count; ++i) {
    lines.push_back("x = getattr(" + from + ", \"" + std::to_string(i) + "\").forward(x" +
                    (argument.empty() ? "" : ", " + argument) + ")");
  }
  lines.push_back("return x");
  return forward_source(argument.empty() ? "x: Tensor" : "x: Tensor, " + argument + ": Tensor", lines);
}

std::string method_source(const std::string& name, const std::string& input, const std::vector<std::string>& lines) {
  std::string source = "\ndef " + name + "(self, " + input + ") -> Tensor:\n";
  for (const auto& line : lines) source += "    " + line + "\n";
  return source;
}

std::string pooled_source(std::vector<std::string> lines) {
  lines.push_back("return x");
  return method_source("pooled", "image: Tensor", lines);
}

std::string forward_source(const std::string& input, const std::vector<std::string>& lines) {
  return method_source("forward", input, lines);
}

void norm_shapes(Shapes& shapes, const std::string& key, std::int64_t width) {
  shapes[key + ".weight"] = {width};
  shapes[key + ".bias"] = {width};
}

void linear_shapes(Shapes& shapes, const std::string& key, std::int64_t out, std::int64_t inner) {
  shapes[key + ".weight"] = {out, inner};
  shapes[key + ".bias"] = {out};
}

void batch_norm_shapes(Shapes& shapes, const std::string& key, std::int64_t width) {
  for (const char* part : {"weight", "bias", "running_mean", "running_var"}) shapes[key + "." + part] = {width};
}

void check_width(const char* half, bool projection, std::int64_t width, std::int64_t embed_dim) {
  if (projection || width == embed_dim) return;
  throw Error(TORCHCLIP_E_MODEL_CORRUPT, "torchclip.json: " + std::string(half) + " has no projection and the width " +
                                             std::to_string(width) + " instead of embedDim");
}

void repeat_module(std::vector<ModuleSource>& modules, const std::string& prefix, std::int64_t count,
                   const std::string& source) {
  for (std::int64_t i = 0; i < count; ++i) modules.push_back({prefix + std::to_string(i), source});
}

BlockLayout::BlockLayout(Fields& fields)
    : width(fields.whole("width", 1, kMostWidth)),
      layers(fields.whole("layers", 1, kMostLayers)),
      heads(fields.whole("heads", 1, kMostWidth)),
      mlp_width(fields.whole("mlpWidth", 1, kMostWidth)),
      activation(fields.choice("activation", {"quick_gelu", "gelu", "gelu_tanh"})),
      eps(fields.number("eps", 1e-12, 1)),
      layer_scale(fields.boolean("layerScale")) {
  if (width % heads != 0) fields.fail("heads", "does not divide the width");
}

namespace {

void lora_shapes(Shapes& shapes, const std::string& attention, std::int64_t width, const LoraLayout& lora) {
  const auto add = [&](const char* letter) {
    shapes[attention + ".lora_" + letter + ".a"] = {lora.rank, width};
    shapes[attention + ".lora_" + letter + ".b"] = {width, lora.rank};
  };
  if (lora.query) add("q");
  if (lora.key) add("k");
  if (lora.value) add("v");
  if (lora.output) add("out");
}

// The branch of an adapter on `x`. Each has a dropout of its own, as in PEFT and CLIP-LoRA; without gradients, in
// evaluation, nothing is dropped.
std::string lora_source(const std::string& x, const std::string& letter, const LoraLayout& lora) {
  const auto input =
      lora.dropout == 0 ? x : "torch.dropout(" + x + ", " + number_text(lora.dropout) + ", torch.is_grad_enabled())";
  const auto at = "self.attn.lora_" + letter;
  return "torch.linear(torch.linear(" + input + ", " + at + ".a), " + at + ".b) * " + number_text(lora.scale);
}

// Adds the adapters of q, k and v to the joined projection.
void add_qkv_lora(std::vector<std::string>& lines, const LoraLayout& lora) {
  if (!lora.query && !lora.key && !lora.value) return;
  const auto part = [&](bool has, const char* letter) {
    return has ? lora_source("y", letter, lora) : std::string("torch.zeros_like(y)");
  };
  lines.push_back("dq = " + part(lora.query, "q"));
  lines.push_back("dk = " + part(lora.key, "k"));
  lines.push_back("dv = " + part(lora.value, "v"));
  lines.push_back("qkv = qkv + torch.cat([dq, dk, dv], 2)");
}

}  // namespace

void block_shapes(Shapes& shapes, const std::string& prefix, const BlockLayout& c, const LoraLayout* lora) {
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const auto block = prefix + ".resblocks." + std::to_string(i);
    norm_shapes(shapes, block + ".ln_1", c.width);
    shapes[block + ".attn.in_proj_weight"] = {3 * c.width, c.width};
    shapes[block + ".attn.in_proj_bias"] = {3 * c.width};
    linear_shapes(shapes, block + ".attn.out_proj", c.width, c.width);
    norm_shapes(shapes, block + ".ln_2", c.width);
    linear_shapes(shapes, block + ".mlp.c_fc", c.mlp_width, c.width);
    linear_shapes(shapes, block + ".mlp.c_proj", c.width, c.mlp_width);
    if (lora) lora_shapes(shapes, block + ".attn", c.width, *lora);
    if (!c.layer_scale) continue;
    shapes[block + ".ls_1.gamma"] = {c.width};
    shapes[block + ".ls_2.gamma"] = {c.width};
  }
}

namespace {

std::string block_source(const BlockLayout& c, Masking masking, const LoraLayout* lora) {
  const bool masked = masking == Masking::mask;
  const auto width = std::to_string(c.width);
  const auto scaled = [&](const char* key, const std::string& x) {
    return c.layer_scale ? x + " * self." + key + ".gamma" : x;
  };
  std::vector<std::string> lines = {"b = x.size(0)", "n = x.size(1)",
                                    "y = " + layer_norm_source("x", "ln_1", c.width, c.eps),
                                    "qkv = torch.linear(y, self.attn.in_proj_weight, self.attn.in_proj_bias)"};
  if (lora) add_qkv_lora(lines, *lora);
  lines.insert(lines.end(), {"qkv = qkv.view([b, n, 3, " + std::to_string(c.heads) + ", " +
                                 std::to_string(c.width / c.heads) + "]).permute([2, 0, 3, 1, 4])",
                             "a = torch.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], " +
                                 std::string(masked ? "mask" : "None") + ", 0.0, " +
                                 (masking == Masking::causal ? "True" : "False") + ")",
                             "a = a.transpose(1, 2).reshape([b, n, " + width + "])"});
  const auto output = linear_source("a", "attn.out_proj");
  lines.push_back("a = " + (lora && lora->output ? output + " + " + lora_source("a", "out", *lora) : output));
  lines.insert(lines.end(), {"x = x + " + scaled("ls_1", "a"), "y = " + layer_norm_source("x", "ln_2", c.width, c.eps),
                             "h = " + linear_source("y", "mlp.c_fc"), "h = " + activation_source(c.activation, "h"),
                             "h = " + linear_source("h", "mlp.c_proj"), "return x + " + scaled("ls_2", "h")});
  return forward_source(masked ? "x: Tensor, mask: Tensor" : "x: Tensor", lines);
}

}  // namespace

void block_sources(std::vector<ModuleSource>& modules, const std::string& prefix, const BlockLayout& c, Masking masking,
                   const LoraLayout* lora) {
  const auto source = block_source(c, masking, lora);
  repeat_module(modules, prefix + ".resblocks.", c.layers, source);
  modules.push_back({prefix, stack_source(c.layers, "resblocks", masking == Masking::mask ? "mask" : "")});
}

}  // namespace torchclip::core
