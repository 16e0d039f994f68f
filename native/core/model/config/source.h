// TorchScript fragments and shapes that the towers share.
#pragma once

#include <cstdint>
#include <string>

#include "model/config/fields.h"
#include "model/config/layout.h"

namespace torchclip::core {

// Formats a number as ECMAScript does (Number::toString), which is also valid TorchScript: 1e-5 is "0.00001".
std::string number_text(double number);

std::string layer_norm_source(const std::string& x, const std::string& key, std::int64_t width, double eps);
std::string linear_source(const std::string& x, const std::string& key);
// `at` is an expression such as "self.bn1", and `eps` is a number as text.
std::string batch_norm_source(const std::string& x, const std::string& at, const std::string& eps);
std::string activation_source(const std::string& activation, const std::string& x);
// Runs the modules "0" to count - 1 of self.`list` (of self if `list` is empty) one after the other. `argument` is a
// second argument that all of them take, or empty.
std::string stack_source(std::int64_t count, const std::string& list, const std::string& argument);
// Returns a method NAME(self, INPUT) -> Tensor with these lines; `input` is "x: Tensor".
std::string method_source(const std::string& name, const std::string& input, const std::vector<std::string>& lines);
// Returns the method pooled of an image tower: these lines, which leave the pooled feature in x.
std::string pooled_source(std::vector<std::string> lines);
// Returns the method forward.
std::string forward_source(const std::string& input, const std::vector<std::string>& lines);

void norm_shapes(Shapes& shapes, const std::string& key, std::int64_t width);
void linear_shapes(Shapes& shapes, const std::string& key, std::int64_t out, std::int64_t inner);
void batch_norm_shapes(Shapes& shapes, const std::string& key, std::int64_t width);

// Reads the settings of a tower into a class that is constructed from Fields; `half` is "image" or "text". Throws if a
// field is unknown.
template <typename Settings>
Settings read_settings(const Json& config, const char* half) {
  Fields fields(config, half);
  fields.text("kind");
  Settings settings(fields);
  fields.finish();
  return settings;
}

// Throws Error(E_MODEL_CORRUPT) if a tower without a projection has a width other than the embedding's.
void check_width(const char* half, bool projection, std::int64_t width, std::int64_t embed_dim);

// Appends `count` modules with the same source: prefix + "0", prefix + "1" ...
void repeat_module(std::vector<ModuleSource>& modules, const std::string& prefix, std::int64_t count,
                   const std::string& source);

// The pre-norm Transformer block of CLIP's towers, named as open_clip names it.
struct BlockLayout {
  std::int64_t width = 0, layers = 0, heads = 0, mlp_width = 0;
  std::string activation;
  double eps = 0;            // Of the layer norms.
  bool layer_scale = false;  // Each residual branch is multiplied by a learned vector (LayerScale).

  // Reads the fields width, layers, heads, mlp_width, activation, eps and layerScale.
  explicit BlockLayout(Fields& fields);
};

// none: each token attends to all tokens; causal: each token attends to itself and the tokens before it; mask: an
// additive mask is passed in.
enum class Masking { none, causal, mask };

// `lora` is null for blocks without adapters.
void block_shapes(Shapes& shapes, const std::string& prefix, const BlockLayout& blocks, const LoraLayout* lora);
// Appends the modules of a stack of blocks.
void block_sources(std::vector<ModuleSource>& modules, const std::string& prefix, const BlockLayout& blocks,
                   Masking masking, const LoraLayout* lora);

}  // namespace torchclip::core
