#include "shapes.h"

#include <cmath>
#include <memory>
#include <optional>
#include <sstream>

#include "values.h"

namespace torchclip::gpu_check {
namespace {

using test::next_random;

// A tensor of random numbers with this deviation around the mean.
struct Parameter {
  std::vector<std::int64_t> shape;
  double deviation;
  double mean = 0;
};

bool has(const std::string& name, const char* part) { return name.find(part) != std::string::npos; }
bool is_text(const std::string& name) { return name.starts_with("text."); }

std::int64_t grid_of(const Shape& s) { return s.size / s.patch; }

// What is looked up or added before the first block, and the projection after the last.
std::optional<Parameter> outer_parameter(const Shape& s, const std::string& name) {
  const std::int64_t width = is_text(name) ? s.text_width : s.width;
  const double narrow = 1 / std::sqrt(static_cast<double>(width));
  if (has(name, "conv1.weight")) {
    return Parameter{{width, 3, s.patch, s.patch}, 1 / std::sqrt(3.0 * static_cast<double>(s.patch * s.patch))};
  }
  if (has(name, "visual.positional_embedding")) return Parameter{{grid_of(s) * grid_of(s) + 1, width}, narrow};
  if (has(name, "class_embedding")) return Parameter{{width}, narrow};
  if (has(name, "token_embedding")) return Parameter{{kVocabulary, width}, 0.02};
  if (has(name, "text.positional_embedding")) return Parameter{{kContext, width}, 0.01};
  if (name == "visual.proj" || name == "text.text_projection") return Parameter{{width, s.embed}, narrow};
  return std::nullopt;
}

// What every block has, and the norms before and after the blocks.
std::optional<Parameter> block_parameter(const Shape& s, const std::string& name) {
  const std::int64_t width = is_text(name) ? s.text_width : s.width;
  const auto layers = static_cast<double>(is_text(name) ? s.text_layers : s.layers);
  const double narrow = 1 / std::sqrt(static_cast<double>(width)), deep = narrow / std::sqrt(2.0 * layers);
  if (has(name, ".ln_")) return Parameter{{width}, 0.02, has(name, "weight") ? 1.0 : 0.0};
  if (has(name, "in_proj_weight")) return Parameter{{3 * width, width}, narrow};
  if (has(name, "in_proj_bias")) return Parameter{{3 * width}, 0.02};
  if (has(name, "out_proj.weight")) return Parameter{{width, width}, deep};
  if (has(name, "c_fc.weight")) return Parameter{{4 * width, width}, narrow / std::sqrt(2.0)};
  if (has(name, "c_proj.weight")) return Parameter{{width, 4 * width}, deep};
  if (has(name, "c_fc.bias")) return Parameter{{4 * width}, 0.02};
  if (has(name, "c_proj.bias") || has(name, "out_proj.bias")) return Parameter{{width}, 0.02};
  return std::nullopt;
}

core::Tensor tensor_of(const Parameter& parameter, const std::string& name) {
  std::int64_t n = 1;
  for (const auto d : parameter.shape) n *= d;
  auto values = std::make_shared<std::vector<float>>(static_cast<std::size_t>(n));
  std::uint32_t seed = 2166136261u;
  for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 16777619u;
  const double range = parameter.deviation * std::sqrt(3.0);  // uniform in [-range, range] has this deviation
  for (auto& x : *values) {
    const double random = static_cast<double>(next_random(seed) >> 8) / (1 << 23) - 1;
    x = static_cast<float>(parameter.mean + range * random);
  }
  return {values->data(), parameter.shape, values};
}

std::vector<std::uint8_t> pixels_of(std::int64_t images, std::int64_t size, std::uint32_t& seed) {
  std::vector<std::uint8_t> pixels;
  for (std::int64_t i = 0; i < images; ++i) {
    const std::uint32_t colour = next_random(seed) >> 8, step = 2 + (next_random(seed) >> 27);
    for (std::int64_t y = 0; y < size; ++y) {
      for (std::int64_t x = 0; x < size; ++x) {
        const bool is_stripe = (x * (i % 3) + y * (i % 5)) / step % 2 != 0;
        for (std::uint32_t c = 0; c < 3; ++c) {
          pixels.push_back(static_cast<std::uint8_t>(is_stripe ? colour >> (8 * c) : x + y * c));
        }
      }
    }
  }
  return pixels;
}

std::vector<std::int32_t> ids_of(std::int64_t texts, std::uint32_t& seed) {
  constexpr auto kStart = static_cast<std::int32_t>(kVocabulary - 2), kEnd = kStart + 1;
  std::vector<std::int32_t> ids;
  for (std::int64_t t = 0; t < texts; ++t) {
    std::vector<std::int32_t> row{kStart};
    const std::int64_t words = 3 + t % 30;
    for (std::int64_t i = 0; i < words; ++i) row.push_back(static_cast<std::int32_t>(next_random(seed) % kStart));
    row.push_back(kEnd);
    row.resize(kContext, 0);
    ids.insert(ids.end(), row.begin(), row.end());
  }
  return ids;
}

}  // namespace

core::Json config_of(const Shape& s) {
  std::ostringstream out;
  const auto block = [&](std::int64_t width, std::int64_t layers, std::int64_t heads) {
    out << "\"width\":" << width << ",\"layers\":" << layers << ",\"heads\":" << heads << ",\"mlpWidth\":" << 4 * width
        << ",\"eps\":1e-5,\"activation\":\"" << s.activation << "\",";
  };
  out << "{\"image\":{\"kind\":\"vit\",\"imageSize\":" << s.size << ",\"patchSize\":" << s.patch << ",";
  block(s.width, s.layers, s.heads);
  out << "\"pool\":\"token\",\"classToken\":true,\"preNorm\":true},\"text\":{\"kind\":\"transformer\",";
  block(s.text_width, s.text_layers, s.text_heads);
  out << "\"pool\":\"argmax\",\"causal\":true,\"endId\":" << kVocabulary - 1 << "}}";
  return core::Json::parse(out.str());
}

core::Weights weights_of(const Shape& s) {
  return [s](const std::string& name) -> core::Tensor {
    auto parameter = outer_parameter(s, name);
    if (!parameter) parameter = block_parameter(s, name);
    return parameter ? tensor_of(*parameter, name) : core::Tensor{};
  };
}

Sample sample_of(const Shape& s, bool small) {
  Sample out;
  if (small) out.images = out.texts = 4;
  std::uint32_t seed = 3;
  out.pixels = pixels_of(out.images, s.size, seed);
  out.ids = ids_of(out.texts, seed);
  return out;
}

double image_flops(const Shape& s) {
  const auto patches = static_cast<double>(grid_of(s) * grid_of(s)), tokens = patches + 1;
  const auto w = static_cast<double>(s.width);
  const auto block = [&](double rows) { return tokens * 4 * w * w + rows * (20 * w * w + 4 * tokens * w); };
  const double embedding = patches * 6 * static_cast<double>(s.patch * s.patch) * w;
  const double projection = 2 * w * static_cast<double>(s.embed);
  return embedding + (static_cast<double>(s.layers) - 1) * block(tokens) + block(1) + projection;
}

}  // namespace torchclip::gpu_check
