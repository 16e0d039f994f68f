// FastViT's MCi variants, the image encoders of MobileCLIP S0 to S4 (Vasu et al. 2023, 2024), as timm names them, in
// their trained form: every convolution with its parallel branches.
#include "model/config/source.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kHeadWidth = 32;

struct Fastvit {
  std::vector<std::int64_t> depths, widths, mlp_widths, squeeze;
  std::vector<bool> attention, positions, downsample;
  bool batch_norm, stem_scale, projection;
  std::int64_t final_width, final_squeeze, image_size;

  explicit Fastvit(Fields& fields)
      : depths(fields.wholes("depths", 8, 1, kMostLayers)),
        widths(fields.wholes("widths", 8, 1, kMostWidth)),
        mlp_widths(fields.wholes("mlpWidths", 8, 1, kMostWidth)),
        squeeze(fields.wholes("squeeze", 8, 0, kMostWidth)),
        attention(fields.booleans("attention", depths.size())),
        positions(fields.booleans("positions", depths.size())),
        downsample(fields.booleans("downsample", depths.size())),
        batch_norm(fields.choice("norm", {"batch", "layer"}) == "batch"),
        stem_scale(fields.boolean("stemScale")),
        projection(fields.boolean("projection")),
        final_width(fields.whole("finalWidth", 1, kMostWidth)),
        final_squeeze(fields.whole("finalSqueeze", 1, kMostWidth)),
        image_size(fields.whole("imageSize", 32, kMostPixels)) {
    const auto stages = depths.size();
    if (widths.size() != stages || mlp_widths.size() != stages || squeeze.size() != stages) {
      fields.fail("widths", "and its neighbours have other numbers of stages");
    }
    if (downsample[0]) fields.fail("downsample", "is set for the first stage");
    for (std::size_t s = 1; s < stages; ++s) {
      const bool fits = downsample[s] ? widths[s] % widths[s - 1] == 0 : widths[s] == widths[s - 1];
      if (!fits) fields.fail("widths", "are no multiples of the ones before");
    }
    for (std::size_t s = 0; s < stages; ++s) {
      if (attention[s] && widths[s] % kHeadWidth != 0) fields.fail("widths", "of attention are no multiple of 32");
    }
    if (final_width % widths.back() != 0) fields.fail("finalWidth", "is no multiple of the last width");
  }
};

// A re-parameterisable convolution: identity + 1 x 1 + k x k, each with its batch norm, added up.
struct Mobile {
  std::int64_t inner = 0, out = 0, kernel = 1, stride = 1, squeeze = 0;
  bool depthwise = false, scale = false, convolution = true, activation = true;

  bool has_identity() const { return inner == out && stride == 1; }
};

std::vector<Mobile> stem_blocks(const Fastvit& c) {
  const auto out = c.widths[0];
  Mobile first{3, out, 3, 2};
  first.scale = c.stem_scale;
  Mobile second{out, out, 3, 2};
  second.depthwise = true;
  second.scale = c.stem_scale;
  return {first, second, Mobile{out, out, 1}};
}

Mobile norm_block(std::int64_t width) {
  Mobile block{width, width, 3};
  block.depthwise = true;
  block.convolution = false;
  block.activation = false;
  return block;
}

Mobile mixer_block(std::int64_t width) {
  Mobile block{width, width, 3};
  block.depthwise = true;
  block.scale = true;
  block.activation = false;
  return block;
}

Mobile final_block(const Fastvit& c) {
  Mobile block{c.widths.back(), c.final_width, 3, 1, c.final_squeeze};
  block.depthwise = true;
  block.scale = true;
  return block;
}

std::string batch_norm(const std::string& x, const std::string& at) { return batch_norm_source(x, at, "1e-05"); }

void convolution_shapes(Shapes& shapes, const std::string& key, std::int64_t out, std::int64_t inner,
                        std::int64_t kernel) {
  shapes[key + ".conv.weight"] = {out, inner, kernel, kernel};
  batch_norm_shapes(shapes, key + ".bn", out);
}

void point_shapes(Shapes& shapes, const std::string& key, std::int64_t out, std::int64_t inner) {
  shapes[key + ".weight"] = {out, inner, 1, 1};
  shapes[key + ".bias"] = {out};
}

void squeeze_shapes(Shapes& shapes, const std::string& key, std::int64_t width, std::int64_t inner) {
  point_shapes(shapes, key + ".fc1", inner, width);
  point_shapes(shapes, key + ".fc2", width, inner);
}

void mobile_shapes(Shapes& shapes, const std::string& key, const Mobile& m) {
  const auto inner = m.depthwise ? 1 : m.inner;
  if (m.has_identity()) batch_norm_shapes(shapes, key + ".identity", m.inner);
  if (m.convolution) convolution_shapes(shapes, key + ".conv_kxk.0", m.out, inner, m.kernel);
  if (m.scale) convolution_shapes(shapes, key + ".conv_scale", m.out, inner, 1);
  if (m.squeeze) squeeze_shapes(shapes, key + ".se", m.out, m.squeeze);
}

void downsample_shapes(Shapes& shapes, const std::string& stage, std::int64_t width, std::int64_t squeeze) {
  const auto large = stage + ".downsample.proj.0";
  convolution_shapes(shapes, large + ".large_conv", width, 1, 7);
  convolution_shapes(shapes, large + ".small_conv", width, 1, 3);
  if (squeeze) squeeze_shapes(shapes, large + ".se", width, squeeze);
  mobile_shapes(shapes, stage + ".downsample.proj.1", Mobile{width, width, 1});
}

void fastvit_block_shapes(Shapes& shapes, const std::string& block, const Fastvit& c, std::size_t s) {
  const auto width = c.widths[s];
  const auto gamma = [&](const char* name) { shapes[block + "." + name + ".gamma"] = {width, 1, 1}; };
  if (c.attention[s]) {
    if (c.batch_norm) {
      batch_norm_shapes(shapes, block + ".norm", width);
    } else {
      norm_shapes(shapes, block + ".norm", width);
    }
    shapes[block + ".token_mixer.qkv.weight"] = {3 * width, width};
    linear_shapes(shapes, block + ".token_mixer.proj", width, width);
    gamma("layer_scale_1");
    gamma("layer_scale_2");
  } else {
    mobile_shapes(shapes, block + ".token_mixer.norm", norm_block(width));
    mobile_shapes(shapes, block + ".token_mixer.mixer", mixer_block(width));
    gamma("token_mixer.layer_scale");
    gamma("layer_scale");
  }
  convolution_shapes(shapes, block + ".mlp.conv", width, 1, 7);
  point_shapes(shapes, block + ".mlp.fc1", c.mlp_widths[s], width);
  point_shapes(shapes, block + ".mlp.fc2", width, c.mlp_widths[s]);
}

Shapes shapes_of(const Fastvit& c, std::int64_t embed_dim) {
  Shapes shapes;
  const auto stem = stem_blocks(c);
  for (std::size_t i = 0; i < stem.size(); ++i) mobile_shapes(shapes, "visual.stem." + std::to_string(i), stem[i]);
  for (std::size_t s = 0; s < c.widths.size(); ++s) {
    const auto stage = "visual.stages." + std::to_string(s);
    const auto width = c.widths[s];
    if (c.downsample[s]) downsample_shapes(shapes, stage, width, c.squeeze[s]);
    if (c.positions[s]) {
      shapes[stage + ".pos_emb.pos_enc.weight"] = {width, 1, 7, 7};
      shapes[stage + ".pos_emb.pos_enc.bias"] = {width};
    }
    for (std::int64_t b = 0; b < c.depths[s]; ++b) {
      fastvit_block_shapes(shapes, stage + ".blocks." + std::to_string(b), c, s);
    }
  }
  mobile_shapes(shapes, "visual.final_conv", final_block(c));
  if (c.projection) linear_shapes(shapes, "visual.project", embed_dim, c.final_width);
  return shapes;
}

// A convolution of x with its batch norm.
std::string convolution_source(const std::string& at, std::int64_t stride, bool depthwise, std::int64_t inner,
                               std::int64_t kernel) {
  const auto s = std::to_string(stride), pad = std::to_string(kernel / 2),
             groups = std::to_string(depthwise ? inner : 1);
  return batch_norm("torch.conv2d(x, " + at + ".conv.weight, None, [" + s + ", " + s + "], [" + pad + ", " + pad +
                        "], [1, 1], " + groups + ")",
                    at + ".bn");
}

// Squeeze-and-excitation of y (Hu et al. 2018).
void add_squeeze_lines(std::vector<std::string>& lines) {
  lines.push_back("s = y.mean([2, 3], True)");
  lines.push_back(
      "s = torch.conv2d(torch.relu(torch.conv2d(s, self.se.fc1.weight, self.se.fc1.bias)), self.se.fc2.weight, "
      "self.se.fc2.bias)");
  lines.push_back("y = y * torch.sigmoid(s)");
}

std::string mobile_source(const Mobile& m) {
  std::string sum;
  const auto add = [&](const std::string& branch) { sum += (sum.empty() ? "" : " + ") + branch; };
  if (m.has_identity()) add(batch_norm("x", "self.identity"));
  if (m.scale) add(convolution_source("self.conv_scale", m.stride, m.depthwise, m.inner, 1));
  if (m.convolution) {
    add(convolution_source("getattr(self.conv_kxk, \"0\")", m.stride, m.depthwise, m.inner, m.kernel));
  }
  std::vector<std::string> lines = {"y = " + sum};
  if (m.squeeze) add_squeeze_lines(lines);
  lines.push_back(m.activation ? "return torch.gelu(y)" : "return y");
  return forward_source("x: Tensor", lines);
}

std::string large_source(std::int64_t inner, bool squeeze) {
  std::vector<std::string> lines = {"y = " + convolution_source("self.large_conv", 2, true, inner, 7) + " + " +
                                    convolution_source("self.small_conv", 2, true, inner, 3)};
  if (squeeze) add_squeeze_lines(lines);
  lines.push_back("return torch.gelu(y)");
  return forward_source("x: Tensor", lines);
}

void add_mlp_lines(std::vector<std::string>& lines, std::int64_t width) {
  lines.push_back("h = " + convolution_source("self.mlp.conv", 1, true, width, 7));
  lines.push_back("h = torch.gelu(torch.conv2d(h, self.mlp.fc1.weight, self.mlp.fc1.bias))");
  lines.push_back("h = torch.conv2d(h, self.mlp.fc2.weight, self.mlp.fc2.bias)");
}

std::string mix_source(std::int64_t width) {
  std::vector<std::string> lines = {
      "x = x + (self.token_mixer.mixer.forward(x) - self.token_mixer.norm.forward(x)) * "
      "self.token_mixer.layer_scale.gamma"};
  add_mlp_lines(lines, width);
  lines.push_back("return x + h * self.layer_scale.gamma");
  return forward_source("x: Tensor", lines);
}

std::string attention_source(std::int64_t width, bool with_batch_norm) {
  const auto w = std::to_string(width);
  const auto normed = with_batch_norm ? batch_norm("x", "self.norm")
                                      : "torch.layer_norm(x.permute([0, 2, 3, 1]), [" + w +
                                            "], self.norm.weight, self.norm.bias, 1e-05).permute([0, 3, 1, 2])";
  std::vector<std::string> lines = {
      "b = x.size(0)",
      "n = x.size(2) * x.size(3)",
      "y = " + normed,
      "y = y.flatten(2).transpose(1, 2)",
      "qkv = torch.linear(y, self.token_mixer.qkv.weight).view([b, n, 3, " + std::to_string(width / kHeadWidth) + ", " +
          std::to_string(kHeadWidth) + "]).permute([2, 0, 3, 1, 4])",
      "a = torch.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]).transpose(1, 2).reshape([b, n, " + w + "])",
      "a = " + linear_source("a", "token_mixer.proj"),
      "x = x + a.transpose(1, 2).reshape(x.size()) * self.layer_scale_1.gamma"};
  add_mlp_lines(lines, width);
  lines.push_back("return x + h * self.layer_scale_2.gamma");
  return forward_source("x: Tensor", lines);
}

std::string stage_source(const Fastvit& c, std::size_t s) {
  std::vector<std::string> lines;
  if (c.downsample[s]) {
    lines.push_back("x = getattr(self.downsample.proj, \"0\").forward(x)");
    lines.push_back("x = getattr(self.downsample.proj, \"1\").forward(x)");
  }
  if (c.positions[s]) {
    lines.push_back(
        "x = x + torch.conv2d(x, self.pos_emb.pos_enc.weight, self.pos_emb.pos_enc.bias, [1, 1], [3, 3], [1, 1], " +
        std::to_string(c.widths[s]) + ")");
  }
  for (std::int64_t b = 0; b < c.depths[s]; ++b) {
    lines.push_back("x = getattr(self.blocks, \"" + std::to_string(b) + "\").forward(x)");
  }
  lines.push_back("return x");
  return forward_source("x: Tensor", lines);
}

// Up to the pooled feature.
std::vector<std::string> tower_lines(const Fastvit& c) {
  std::vector<std::string> lines = {"x = image"};
  const auto run = [&](const char* list, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      lines.push_back("x = getattr(self." + std::string(list) + ", \"" + std::to_string(i) + "\").forward(x)");
    }
  };
  run("stem", 3);
  run("stages", c.depths.size());
  lines.push_back("x = self.final_conv.forward(x).mean([2, 3])");
  return lines;
}

std::string tower_source(const Fastvit& c) {
  auto lines = tower_lines(c);
  lines.push_back("return " + (c.projection ? linear_source("x", "project") : std::string("x")));
  return forward_source("image: Tensor", lines);
}

void add_stage(std::vector<ModuleSource>& modules, const Fastvit& c, std::size_t s) {
  const auto stage = "visual.stages." + std::to_string(s);
  const auto width = c.widths[s];
  if (c.downsample[s]) {
    modules.push_back({stage + ".downsample.proj.0", large_source(c.widths[s - 1], c.squeeze[s] > 0)});
    modules.push_back({stage + ".downsample.proj.1", mobile_source(Mobile{width, width, 1})});
  }
  for (std::int64_t b = 0; b < c.depths[s]; ++b) {
    const auto block = stage + ".blocks." + std::to_string(b);
    if (!c.attention[s]) {
      modules.push_back({block + ".token_mixer.norm", mobile_source(norm_block(width))});
      modules.push_back({block + ".token_mixer.mixer", mobile_source(mixer_block(width))});
    }
    modules.push_back({block, c.attention[s] ? attention_source(width, c.batch_norm) : mix_source(width)});
  }
  modules.push_back({stage, stage_source(c, s)});
}

}  // namespace

TowerLayout fastvit_layout(const Json& config, std::int64_t embed_dim) {
  const auto c = read_settings<Fastvit>(config, "image");
  check_width("image", c.projection, c.final_width, embed_dim);
  TowerLayout layout;
  layout.shapes = shapes_of(c, embed_dim);
  const auto stem = stem_blocks(c);
  for (std::size_t i = 0; i < stem.size(); ++i) {
    layout.modules.push_back({"visual.stem." + std::to_string(i), mobile_source(stem[i])});
  }
  for (std::size_t s = 0; s < c.depths.size(); ++s) add_stage(layout.modules, c, s);
  layout.modules.push_back({"visual.final_conv", mobile_source(final_block(c))});
  layout.modules.push_back({"visual", tower_source(c)});
  layout.pooled_methods.push_back({"visual", pooled_source(tower_lines(c))});
  layout.pooled_dim = c.final_width;
  if (c.projection) layout.projection = {ProjectionKind::linear, "visual.project.weight", "visual.project.bias", true};
  layout.image_size = c.image_size;
  return layout;
}

}  // namespace torchclip::core
