// ConvNeXt (Liu et al. 2022) as timm names it, with open_clip's linear or MLP head.
#include "model/config/source.h"

namespace torchclip::core {
namespace {

struct Convnext {
  std::vector<std::int64_t> depths, widths;
  double eps;
  std::int64_t image_size, mlp_width;
  bool mlp, head_bias;

  explicit Convnext(Fields& fields)
      : depths(fields.wholes("depths", 4, 1, kMostLayers)),
        widths(fields.wholes("widths", 4, 1, kMostWidth)),
        eps(fields.number("eps", 1e-12, 1)),
        image_size(fields.whole("imageSize", 32, kMostPixels)),
        mlp_width(fields.whole("mlpWidth", 0, kMostWidth)),
        mlp(fields.choice("head", {"linear", "mlp"}) == "mlp"),
        head_bias(fields.boolean("headBias")) {
    if (depths.size() != 4 || widths.size() != 4) fields.fail("depths", "and widths have other than four stages");
    if (mlp && mlp_width < 1) fields.fail("mlpWidth", "is 0 for a head that is an MLP");
  }
};

Shapes shapes_of(const Convnext& c, std::int64_t embed_dim) {
  Shapes shapes;
  shapes["visual.stem.0.weight"] = {c.widths[0], 3, 4, 4};
  shapes["visual.stem.0.bias"] = {c.widths[0]};
  norm_shapes(shapes, "visual.stem.1", c.widths[0]);
  for (std::size_t s = 0; s < 4; ++s) {
    const auto stage = "visual.stages." + std::to_string(s);
    const auto width = c.widths[s];
    if (s > 0) {
      norm_shapes(shapes, stage + ".downsample.0", c.widths[s - 1]);
      shapes[stage + ".downsample.1.weight"] = {width, c.widths[s - 1], 2, 2};
      shapes[stage + ".downsample.1.bias"] = {width};
    }
    for (std::int64_t b = 0; b < c.depths[s]; ++b) {
      const auto block = stage + ".blocks." + std::to_string(b);
      shapes[block + ".gamma"] = {width};
      shapes[block + ".conv_dw.weight"] = {width, 1, 7, 7};
      shapes[block + ".conv_dw.bias"] = {width};
      norm_shapes(shapes, block + ".norm", width);
      linear_shapes(shapes, block + ".mlp.fc1", 4 * width, width);
      linear_shapes(shapes, block + ".mlp.fc2", width, 4 * width);
    }
  }
  const auto last = c.widths[3];
  norm_shapes(shapes, "visual.head.norm", last);
  if (c.mlp) {
    linear_shapes(shapes, "visual.project.mlp.fc1", c.mlp_width, last);
    shapes["visual.project.mlp.fc2.weight"] = {embed_dim, c.mlp_width};
  } else {
    shapes["visual.project.proj.weight"] = {embed_dim, last};
  }
  if (c.head_bias) shapes[c.mlp ? "visual.project.mlp.fc2.bias" : "visual.project.proj.bias"] = {embed_dim};
  return shapes;
}

std::string block_source(std::int64_t width, double eps) {
  return forward_source(
      "x: Tensor", {"y = torch.conv2d(x, self.conv_dw.weight, self.conv_dw.bias, [1, 1], [3, 3], [1, 1], " +
                        std::to_string(width) + ")",
                    "y = y.permute([0, 2, 3, 1])", "y = " + layer_norm_source("y", "norm", width, eps),
                    "y = torch.gelu(" + linear_source("y", "mlp.fc1") + ")",
                    "y = " + linear_source("y", "mlp.fc2") + " * self.gamma", "return x + y.permute([0, 3, 1, 2])"});
}

// A layer norm over the channels of [B, C, H, W], by the module `at`.
std::string channel_norm_source(std::int64_t width, const std::string& at, double eps) {
  return "x = torch.layer_norm(x.permute([0, 2, 3, 1]), [" + std::to_string(width) + "], " + at + ".weight, " + at +
         ".bias, " + number_text(eps) + ").permute([0, 3, 1, 2])";
}

std::string downsample_source(std::int64_t width, double eps) {
  const std::string first = "getattr(self, \"0\")", second = "getattr(self, \"1\")";
  return forward_source("x: Tensor", {channel_norm_source(width, first, eps),
                                      "return torch.conv2d(x, " + second + ".weight, " + second + ".bias, [2, 2])"});
}

std::string stage_source(std::int64_t depth, bool downsample) {
  std::vector<std::string> lines;
  if (downsample) lines.push_back("x = self.downsample.forward(x)");
  for (std::int64_t b = 0; b < depth; ++b) {
    lines.push_back("x = getattr(self.blocks, \"" + std::to_string(b) + "\").forward(x)");
  }
  lines.push_back("return x");
  return forward_source("x: Tensor", lines);
}

std::string head_source(const Convnext& c) {
  const auto bias = [&](const std::string& key) { return c.head_bias ? "self." + key + ".bias" : "None"; };
  if (!c.mlp) return "torch.linear(x, self.project.proj.weight, " + bias("project.proj") + ")";
  return "torch.linear(torch.gelu(" + linear_source("x", "project.mlp.fc1") + "), self.project.mlp.fc2.weight, " +
         bias("project.mlp.fc2") + ")";
}

// Up to the feature map of the last stage.
std::vector<std::string> stage_lines(const Convnext& c) {
  const std::string convolution = "getattr(self.stem, \"0\")", norm = "getattr(self.stem, \"1\")";
  std::vector<std::string> lines = {
      "x = torch.conv2d(image, " + convolution + ".weight, " + convolution + ".bias, [4, 4])",
      channel_norm_source(c.widths[0], norm, c.eps)};
  for (int s = 0; s < 4; ++s) lines.push_back("x = getattr(self.stages, \"" + std::to_string(s) + "\").forward(x)");
  return lines;
}

std::vector<std::string> pool_lines(const Convnext& c) {
  return {"x = x.mean([2, 3])", "x = " + layer_norm_source("x", "head.norm", c.widths[3], c.eps)};
}

std::string tower_source(const Convnext& c) {
  auto source = forward_source("image: Tensor", stage_lines(c));
  // An empty line stands before the head, as it always has: the text is compared byte for byte.
  for (const auto& line : pool_lines(c)) source += "\n    " + line;
  source += "\n    return " + head_source(c) + "\n";
  return source;
}

std::vector<std::string> tower_lines(const Convnext& c) {
  auto lines = stage_lines(c);
  for (auto& line : pool_lines(c)) lines.push_back(std::move(line));
  return lines;
}

}  // namespace

TowerLayout convnext_layout(const Json& config, std::int64_t embed_dim) {
  const auto c = read_settings<Convnext>(config, "image");
  TowerLayout layout;
  layout.shapes = shapes_of(c, embed_dim);
  for (std::size_t s = 0; s < 4; ++s) {
    const auto stage = "visual.stages." + std::to_string(s);
    repeat_module(layout.modules, stage + ".blocks.", c.depths[s], block_source(c.widths[s], c.eps));
    if (s > 0) layout.modules.push_back({stage + ".downsample", downsample_source(c.widths[s - 1], c.eps)});
    layout.modules.push_back({stage, stage_source(c.depths[s], s > 0)});
  }
  layout.modules.push_back({"visual", tower_source(c)});
  layout.pooled_methods.push_back({"visual", pooled_source(tower_lines(c))});
  layout.pooled_dim = c.widths[3];
  const std::string head = "visual.project.proj";
  if (c.mlp) {
    layout.projection.kind = ProjectionKind::other;
  } else {
    layout.projection = {ProjectionKind::linear, head + ".weight", c.head_bias ? head + ".bias" : "", true};
  }
  layout.image_size = c.image_size;
  return layout;
}

}  // namespace torchclip::core
