// The settings of the towers from torchclip.json, and values that are computed from their weights once, for every
// runner that supports these towers (model/cpu on CPUs, native/cuda on GPUs).
#pragma once

#include <optional>

#include "base/json.h"
#include "kernels/kernels.h"
#include "model/config/weights.h"

namespace torchclip::core {

// BlockConfig of lib/models/architectures/blocks.ts.
struct BlockSettings {
  std::int64_t width = 0, heads = 0, layers = 0, mlp_width = 0;
  float eps = 1e-5f;
  Activation activation = Activation::none;
  bool post_norm = false;  // Each branch is added, and the sum is then normalised (RoBERTa).
  BlockSettings() = default;
  explicit BlockSettings(const Json& config);
  // For configs that name no activation. Throws Error(E_MODEL_CORRUPT) if there are no heads.
  BlockSettings(const Json& config, Activation activation, float default_eps);
  // The factor that divides queries by the square root of a head's width. It is folded into the weights.
  float query_scale() const;
};

// VitConfig of lib/models/architectures/image-vit.ts.
struct VitSettings : BlockSettings {
  enum class Pool { token, average, map, queries };
  Pool pool = Pool::token;
  std::vector<std::int64_t>
      stem;  // The kernel sizes of a convolutional stem, whose product is `patch`; empty: one convolution.
  std::int64_t size = 0, patch = 0, grid = 0, pool_heads = 0;
  bool class_token = false, pre_norm = false, norm_after_pool = false;

  // Returns none if the settings name something that only the generic runner supports.
  static std::optional<VitSettings> of(const Json& config);
  // Reads size, patch and grid. Throws Error(E_MODEL_CORRUPT) if they, or the heads that were read before, are
  // impossible.
  void read_sizes(const Json& config);
  std::int64_t bytes() const { return size * size * 3; }  // Of an image.
  std::int64_t patches() const { return grid * grid; }
  std::int64_t length() const { return patches() + (class_token ? 1 : 0); }  // Tokens of an image.
  std::int64_t patch_inner() const { return 3 * patch * patch; }
};

struct VitEmbedding {
  Tensor patches;                // [width, 3 patch^2]
  std::vector<float> positions;  // [patches, width], including the patch embedding's bias.
  std::vector<float> class_row;  // The class embedding plus its position; empty if there is none.
};
// Throws Error(E_MODEL_CORRUPT) if the weights do not fit.
VitEmbedding vit_embedding(const VitSettings& settings, const Weights& weights);

// Returns the learned query of attention pooling (SigLIP), projected and scaled: [width].
std::vector<float> map_query(const VitSettings& settings, const Weights& weights);
// Returns the first of several learned queries of attention pooling (CoCa), projected and scaled: [dim] of the pooled
// vector.
std::vector<float> first_query(const VitSettings& settings, const Weights& weights, std::int64_t dim);

// TextConfig of lib/models/architectures/text-transformer.ts.
struct TextSettings : BlockSettings {
  enum class Pool { argmax, eos, last, first };
  Pool pool = Pool::argmax;
  bool causal = true;
  bool appended_token = false;  // A learned token after the text is pooled (CoCa).
  std::int32_t end_id = 0, pad_id = 0;

  static std::optional<TextSettings> of(const Json& config);
  // Returns the position in a row of the token whose vector becomes the embedding.
  std::int64_t pooled_position(const std::int32_t* ids, std::int64_t length) const;
};

}  // namespace torchclip::core
