// The models that are measured, of random weights, and what is given to them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "model/config/weights.h"

namespace torchclip::gpu_check {

struct Shape {
  const char* name;
  std::int64_t size, patch, width, layers, heads, text_width, text_layers, text_heads, embed;
  const char* activation;
};

// open_clip's configurations of these names.
constexpr Shape kShapes[] = {
    {"ViT-B/32", 224, 32, 768, 12, 12, 512, 12, 8, 512, "quick_gelu"},
    {"ViT-B/16", 224, 16, 768, 12, 12, 512, 12, 8, 512, "quick_gelu"},
    {"ViT-L/14", 224, 14, 1024, 24, 16, 768, 12, 12, 768, "quick_gelu"},
    {"ViT-H/14", 224, 14, 1280, 32, 16, 1024, 24, 16, 1024, "gelu"},
};
constexpr Shape kSmall = {"small", 32, 8, 64, 2, 2, 64, 2, 2, 32, "quick_gelu"};
constexpr std::int64_t kContext = 77, kVocabulary = 49408;

core::Json config_of(const Shape& shape);

// Random weights with the deviations that CLIP is initialised with. A name always gives the same weights.
core::Weights weights_of(const Shape& shape);

struct Sample {
  std::int64_t images = 32, texts = 32;
  std::vector<std::uint8_t> pixels;
  std::vector<std::int32_t> ids;
};
Sample sample_of(const Shape& shape, bool small);

// Of the products and the attention that are computed for one image.
double image_flops(const Shape& shape);

}  // namespace torchclip::gpu_check
