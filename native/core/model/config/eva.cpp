// EVA (Fang et al. 2022, 2023) as timm names it: EVA01-g, EVA02-B/L with rotary positions, a gated MLP and norms inside
// (sub-LN), EVA02-E with its norms after the branches.
#include "model/config/source.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kRotaryGrid = 16;  // positions are scaled to the 16 x 16 grid of the training (ref_feat_shape)
constexpr std::int64_t kTemperature = 10000;
constexpr std::int64_t kFloat = 6;  // at::kFloat: sources that C++ compiles have no torch.float

struct Eva {
  std::int64_t width, layers, heads, mlp_width, patch, image_size, grid;
  double eps;
  bool rotary, gated, inner_norm, post_norm, projection;

  explicit Eva(Fields& fields)
      : width(fields.whole("width", 1, kMostWidth)),
        layers(fields.whole("layers", 1, kMostLayers)),
        heads(fields.whole("heads", 1, kMostWidth)),
        mlp_width(fields.whole("mlpWidth", 1, kMostWidth)),
        patch(fields.whole("patchSize", 1, kMostPixels)),
        image_size(fields.whole("imageSize", 1, kMostPixels)),
        grid(image_size / patch),
        eps(fields.number("eps", 1e-12, 1)),
        rotary(fields.boolean("rotary")),
        gated(fields.boolean("gated")),
        inner_norm(fields.boolean("innerNorm")),
        post_norm(fields.boolean("postNorm")),
        projection(fields.boolean("projection")) {
    if (width % heads != 0) fields.fail("heads", "does not divide the width");
    if (rotary && width / heads % 4 != 0) fields.fail("heads", "leaves a head of a width that is no multiple of 4");
    if (grid < 1) fields.fail("patchSize", "is larger than the image");
  }
};

Shapes shapes_of(const Eva& c, std::int64_t embed_dim) {
  Shapes shapes;
  shapes["visual.conv1.weight"] = {c.width, 3, c.patch, c.patch};
  shapes["visual.conv1.bias"] = {c.width};
  shapes["visual.class_embedding"] = {c.width};
  shapes["visual.positional_embedding"] = {c.grid * c.grid + 1, c.width};
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const auto block = "visual.blocks." + std::to_string(i);
    norm_shapes(shapes, block + ".norm1", c.width);
    shapes[block + ".attn.in_proj_weight"] = {3 * c.width, c.width};
    shapes[block + ".attn.q_bias"] = {c.width};
    shapes[block + ".attn.v_bias"] = {c.width};
    if (c.inner_norm) norm_shapes(shapes, block + ".attn.norm", c.width);
    linear_shapes(shapes, block + ".attn.proj", c.width, c.width);
    norm_shapes(shapes, block + ".norm2", c.width);
    if (c.gated) {
      linear_shapes(shapes, block + ".mlp.fc1_g", c.mlp_width, c.width);
      linear_shapes(shapes, block + ".mlp.fc1_x", c.mlp_width, c.width);
      norm_shapes(shapes, block + ".mlp.norm", c.mlp_width);
    } else {
      linear_shapes(shapes, block + ".mlp.fc1", c.mlp_width, c.width);
    }
    linear_shapes(shapes, block + ".mlp.fc2", c.width, c.mlp_width);
  }
  norm_shapes(shapes, "visual.ln_post", c.width);
  if (c.projection) {
    shapes["visual.proj"] = {c.width, embed_dim};
    shapes["visual.proj_bias"] = {embed_dim};
  }
  return shapes;
}

const char* const kRotate = R"(
def rotate(self, x: Tensor, rope: Tensor) -> Tensor:
    first = x.narrow(2, 0, 1)
    p = x.narrow(2, 1, x.size(2) - 1)
    pairs = p.unflatten(3, [-1, 2])
    turned = torch.stack([-pairs.select(4, 1), pairs.select(4, 0)], -1).flatten(3)
    return torch.cat([first, (p * rope[1] + turned * rope[0]).to(x.dtype)], 2)
)";

std::string block_source(const Eva& c) {
  const auto norm = [&](const char* x, const char* key) { return layer_norm_source(x, key, c.width, c.eps); };
  std::vector<std::string> lines = {
      "b = x.size(0)",
      "n = x.size(1)",
      "y = " + (c.post_norm ? "x" : norm("x", "norm1")),
      "bias = torch.cat([self.attn.q_bias, torch.zeros_like(self.attn.q_bias), self.attn.v_bias])",
      "qkv = torch.linear(y, self.attn.in_proj_weight, bias).view([b, n, 3, " + std::to_string(c.heads) + ", " +
          std::to_string(c.width / c.heads) + "]).permute([2, 0, 3, 1, 4])",
      std::string("q = ") + (c.rotary ? "self.rotate(qkv[0], rope)" : "qkv[0]"),
      std::string("k = ") + (c.rotary ? "self.rotate(qkv[1], rope)" : "qkv[1]"),
      "a = torch.scaled_dot_product_attention(q, k, qkv[2]).transpose(1, 2).reshape([b, n, " + std::to_string(c.width) +
          "])",
      c.inner_norm ? "a = " + norm("a", "attn.norm") : "",
      "a = " + linear_source("a", "attn.proj"),
      "x = x + " + (c.post_norm ? norm("a", "norm1") : "a"),
      "y = " + (c.post_norm ? "x" : norm("x", "norm2"))};
  if (c.gated) {
    lines.push_back("h = torch.silu(" + linear_source("y", "mlp.fc1_g") + ") * " + linear_source("y", "mlp.fc1_x"));
    lines.push_back("h = " + layer_norm_source("h", "mlp.norm", c.mlp_width, c.eps));
  } else {
    lines.push_back("h = torch.gelu(" + linear_source("y", "mlp.fc1") + ")");
  }
  lines.push_back("h = " + linear_source("h", "mlp.fc2"));
  lines.push_back("return x + " + (c.post_norm ? norm("h", "norm2") : "h"));
  return (c.rotary ? kRotate : "") + forward_source("x: Tensor, rope: Tensor", lines);
}

// [2, patches, head width]: sine and cosine of each patch's angles, in fp32 (timm's RotaryEmbeddingCat).
std::string rope_source(const Eva& c) {
  const auto grid = std::to_string(c.grid), quarter = std::to_string(c.width / c.heads / 4),
             dtype = std::to_string(kFloat);
  return "\ndef rope(self, x: Tensor) -> Tensor:\n"
         "    bands = torch.pow(" +
         std::to_string(kTemperature) + ".0, -torch.arange(" + quarter + ", dtype=" + dtype + ", device=x.device) / " +
         quarter +
         ")\n"
         "    at = torch.arange(" +
         grid + ", dtype=" + dtype + ", device=x.device) / " + grid + " * " + std::to_string(kRotaryGrid) +
         "\n"
         "    rows = at.view([-1, 1, 1]).expand([-1, " +
         grid +
         ", 1]) * bands\n"
         "    columns = at.view([1, -1, 1]).expand([" +
         grid +
         ", -1, 1]) * bands\n"
         "    angle = torch.cat([rows, columns], -1).flatten(0, 1).repeat_interleave(2, 1)\n"
         "    return torch.stack([angle.sin(), angle.cos()])\n\n";
}

// Up to the pooled feature.
std::vector<std::string> tower_lines(const Eva& c) {
  const auto patch = std::to_string(c.patch);
  return {"x = torch.conv2d(image, self.conv1.weight, self.conv1.bias, [" + patch + ", " + patch + "])",
          "x = x.flatten(2).transpose(1, 2)",
          "x = torch.cat([self.class_embedding.expand([x.size(0), 1, " + std::to_string(c.width) + "]), x], 1)",
          "x = x + self.positional_embedding",
          std::string("x = self.blocks.forward(x, ") + (c.rotary ? "self.rope(x)" : "x") + ")",
          "x = x.select(1, 0)",
          "x = " + layer_norm_source("x", "ln_post", c.width, c.eps)};
}

std::string tower_source(const Eva& c) {
  auto lines = tower_lines(c);
  lines.push_back(std::string("return ") + (c.projection ? "torch.matmul(x, self.proj) + self.proj_bias" : "x"));
  return (c.rotary ? rope_source(c) : "") + forward_source("image: Tensor", lines);
}

}  // namespace

TowerLayout eva_layout(const Json& config, std::int64_t embed_dim) {
  const auto c = read_settings<Eva>(config, "image");
  check_width("image", c.projection, c.width, embed_dim);
  TowerLayout layout;
  layout.shapes = shapes_of(c, embed_dim);
  repeat_module(layout.modules, "visual.blocks.", c.layers, block_source(c));
  layout.modules.push_back({"visual.blocks", stack_source(c.layers, "", "rope")});
  layout.modules.push_back({"visual", tower_source(c)});
  layout.pooled_methods.push_back({"visual", pooled_source(tower_lines(c))});
  layout.pooled_dim = c.width;
  if (c.projection) layout.projection = {ProjectionKind::linear, "visual.proj", "visual.proj_bias", false};
  layout.image_size = c.image_size;
  return layout;
}

}  // namespace torchclip::core
