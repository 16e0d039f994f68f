// CLIP's modified ResNet (Radford et al. 2021, section 2.4; openai/CLIP, clip/model.py): three convolutions as stem,
// average pooling before strided convolutions, attention pooling at the end.
#include "model/config/source.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kExpansion = 4;
constexpr std::int64_t kReduction = 32;  // of the image's side, from input to the last feature map
constexpr std::int64_t kHeadWidth = 64;

struct Resnet {
  std::vector<std::int64_t> layers;  // bottlenecks of the four stages
  std::int64_t width, heads, image_size;

  explicit Resnet(Fields& fields)
      : layers(fields.wholes("layers", 4, 1, kMostLayers)),
        width(fields.whole("width", 2, 1 << 10)),
        heads(fields.whole("heads", 1, kMostWidth)),
        image_size(fields.whole("imageSize", kReduction, kMostPixels)) {
    if (layers.size() != 4) fields.fail("layers", "has other than four stages");
    if (width % 2 != 0) fields.fail("width", "is odd");
    if (heads * kHeadWidth != width * kReduction) fields.fail("heads", "are not as many as the width has 64s");
    if (image_size % kReduction != 0) fields.fail("imageSize", "is no multiple of 32");
  }
};

std::string batch_norm(const std::string& x, const std::string& at) { return batch_norm_source(x, at, "0.00001"); }

Shapes shapes_of(const Resnet& c, std::int64_t embed_dim) {
  Shapes shapes;
  const auto half = c.width / 2;
  shapes["visual.conv1.weight"] = {half, 3, 3, 3};
  shapes["visual.conv2.weight"] = {half, half, 3, 3};
  shapes["visual.conv3.weight"] = {c.width, half, 3, 3};
  batch_norm_shapes(shapes, "visual.bn1", half);
  batch_norm_shapes(shapes, "visual.bn2", half);
  batch_norm_shapes(shapes, "visual.bn3", c.width);
  auto inner = c.width;
  for (std::size_t stage = 0; stage < c.layers.size(); ++stage) {
    const auto planes = c.width << stage;
    for (std::int64_t b = 0; b < c.layers[stage]; ++b) {
      const auto block = "visual.layer" + std::to_string(stage + 1) + "." + std::to_string(b);
      shapes[block + ".conv1.weight"] = {planes, inner, 1, 1};
      shapes[block + ".conv2.weight"] = {planes, planes, 3, 3};
      shapes[block + ".conv3.weight"] = {planes * kExpansion, planes, 1, 1};
      batch_norm_shapes(shapes, block + ".bn1", planes);
      batch_norm_shapes(shapes, block + ".bn2", planes);
      batch_norm_shapes(shapes, block + ".bn3", planes * kExpansion);
      if (b == 0) {
        shapes[block + ".downsample.0.weight"] = {planes * kExpansion, inner, 1, 1};
        batch_norm_shapes(shapes, block + ".downsample.1", planes * kExpansion);
      }
      inner = planes * kExpansion;
    }
  }
  const std::string pool = "visual.attnpool";
  const auto grid = c.image_size / kReduction;
  shapes[pool + ".positional_embedding"] = {grid * grid + 1, inner};
  for (const char* name : {".q_proj", ".k_proj", ".v_proj"}) linear_shapes(shapes, pool + name, inner, inner);
  linear_shapes(shapes, pool + ".c_proj", embed_dim, inner);
  return shapes;
}

std::string bottleneck_source(bool downsample, std::int64_t stride) {
  const auto pooled = [&](const std::string& x) {
    const auto s = std::to_string(stride);
    return stride > 1 ? "torch.avg_pool2d(" + x + ", [" + s + ", " + s + "])" : x;
  };
  std::string skip = "x";
  if (downsample) {
    skip = batch_norm("torch.conv2d(" + pooled("x") + ", getattr(self.downsample, \"0\").weight)",
                      "getattr(self.downsample, \"1\")");
  }
  return forward_source(
      "x: Tensor",
      {"y = torch.relu(" + batch_norm("torch.conv2d(x, self.conv1.weight)", "self.bn1") + ")",
       "y = torch.relu(" + batch_norm("torch.conv2d(y, self.conv2.weight, None, [1, 1], [1, 1])", "self.bn2") + ")",
       "y = " + pooled("y"), "y = " + batch_norm("torch.conv2d(y, self.conv3.weight)", "self.bn3"),
       "return torch.relu(y + " + skip + ")"});
}

// The mean of all positions asks, all positions and the mean answer; without c_proj.
std::vector<std::string> attention_pool_lines(const Resnet& c) {
  const auto heads = std::to_string(c.heads), head = std::to_string(kHeadWidth);
  const auto all = ".view([b, n, " + heads + ", " + head + "]).transpose(1, 2)";
  return {"x = x.flatten(2).transpose(1, 2)",
          "x = torch.cat([x.mean([1], True), x], 1) + self.positional_embedding",
          "b = x.size(0)",
          "n = x.size(1)",
          "q = " + linear_source("x.narrow(1, 0, 1)", "q_proj") + ".view([b, 1, " + heads + ", " + head +
              "]).transpose(1, 2)",
          "k = " + linear_source("x", "k_proj") + all,
          "v = " + linear_source("x", "v_proj") + all,
          "a = torch.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape([b, " +
              std::to_string(c.width * kReduction) + "])"};
}

std::string attention_pool_source(const Resnet& c) {
  auto lines = attention_pool_lines(c);
  lines.push_back("return " + linear_source("a", "c_proj"));
  return forward_source("x: Tensor", lines);
}

std::string attention_pooled_source(const Resnet& c) {
  auto lines = attention_pool_lines(c);
  lines.push_back("return a");
  return method_source("pooled", "x: Tensor", lines);
}

// Up to the feature map of the last stage.
std::vector<std::string> tower_lines() {
  const auto step = [](const std::string& convolution, const std::string& norm) {
    return "x = torch.relu(" + batch_norm(convolution, "self." + norm) + ")";
  };
  return {step("torch.conv2d(image, self.conv1.weight, None, [2, 2], [1, 1])", "bn1"),
          step("torch.conv2d(x, self.conv2.weight, None, [1, 1], [1, 1])", "bn2"),
          step("torch.conv2d(x, self.conv3.weight, None, [1, 1], [1, 1])", "bn3"),
          "x = torch.avg_pool2d(x, [2, 2])",
          "x = self.layer1.forward(x)",
          "x = self.layer2.forward(x)",
          "x = self.layer3.forward(x)",
          "x = self.layer4.forward(x)"};
}

std::string tower_source() {
  auto lines = tower_lines();
  lines.push_back("return self.attnpool.forward(x)");
  return forward_source("image: Tensor", lines);
}

std::string tower_pooled_source() {
  auto lines = tower_lines();
  lines.push_back("x = self.attnpool.pooled(x)");
  return pooled_source(std::move(lines));
}

}  // namespace

TowerLayout resnet_layout(const Json& config, std::int64_t embed_dim) {
  const auto c = read_settings<Resnet>(config, "image");
  TowerLayout layout;
  layout.shapes = shapes_of(c, embed_dim);
  for (std::size_t stage = 0; stage < c.layers.size(); ++stage) {
    const auto list = "visual.layer" + std::to_string(stage + 1);
    for (std::int64_t b = 0; b < c.layers[stage]; ++b) {
      layout.modules.push_back(
          {list + "." + std::to_string(b), bottleneck_source(b == 0, b == 0 && stage > 0 ? 2 : 1)});
    }
    layout.modules.push_back({list, stack_source(c.layers[stage], "", "")});
  }
  layout.modules.push_back({"visual.attnpool", attention_pool_source(c)});
  layout.modules.push_back({"visual", tower_source()});
  layout.pooled_methods.push_back({"visual.attnpool", attention_pooled_source(c)});
  layout.pooled_methods.push_back({"visual", tower_pooled_source()});
  layout.pooled_dim = c.width * kReduction;
  layout.projection = {ProjectionKind::linear, "visual.attnpool.c_proj.weight", "visual.attnpool.c_proj.bias", true};
  layout.image_size = c.image_size;
  return layout;
}

}  // namespace torchclip::core
