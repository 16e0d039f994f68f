// The towers' settings out of torchclip.json, and what is computed of their weights once, for every runner that knows
// these towers (this folder on CPUs, native/cuda on GPUs).
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
  bool post_norm = false;  // each branch is added first, then normalised (RoBERTa)
  BlockSettings() = default;
  explicit BlockSettings(const Json& config);
  // For configs that name no activation. Throws Error(E_MODEL_CORRUPT) where there is no head.
  BlockSettings(const Json& config, Activation activation, float default_eps);
  // Queries are divided by the square root of a head's width: in the weights, once.
  float query_scale() const;
};

// VitConfig of lib/models/architectures/image-vit.ts.
struct VitSettings : BlockSettings {
  enum class Pool { token, average, map, queries };
  Pool pool = Pool::token;
  std::vector<std::int64_t>
      stem;  // kernels of a convolutional stem, whose product is the patch; empty: one convolution
  std::int64_t size = 0, patch = 0, grid = 0, pool_heads = 0;
  bool class_token = false, pre_norm = false, norm_after_pool = false;

  // None where the settings name something that only the generic runner does.
  static std::optional<VitSettings> of(const Json& config);
  // size, patch and grid. Throws Error(E_MODEL_CORRUPT) where they, or the heads read before, name no possible image.
  void read_sizes(const Json& config);
  std::int64_t bytes() const { return size * size * 3; }  // of a image
  std::int64_t patches() const { return grid * grid; }
  std::int64_t length() const { return patches() + (class_token ? 1 : 0); }  // tokens of a image
  std::int64_t patch_inner() const { return 3 * patch * patch; }
};

struct VitEmbedding {
  Tensor patches;                // [width, 3 patch^2]
  std::vector<float> positions;  // [patches, width], with the patch embedding's bias
  std::vector<float> class_row;  // class embedding and its position; empty where there is none
};
// Throws Error(E_MODEL_CORRUPT) where the weights do not fit.
VitEmbedding vit_embedding(const VitSettings& settings, const Weights& weights);

// Of attention pooling by one learned query (SigLIP): that query, projected and scaled, [width].
std::vector<float> map_query(const VitSettings& settings, const Weights& weights);
// Of attention pooling by the first of several learned queries (CoCa): the same, [dim] of the pooled vector.
std::vector<float> first_query(const VitSettings& settings, const Weights& weights, std::int64_t dim);

// TextConfig of lib/models/architectures/text-transformer.ts.
struct TextSettings : BlockSettings {
  enum class Pool { argmax, eos, last, first };
  Pool pool = Pool::argmax;
  bool causal = true;
  bool appended_token = false;  // a learned token after the text is pooled (CoCa)
  std::int32_t end_id = 0, pad_id = 0;

  static std::optional<TextSettings> of(const Json& config);
  // The token of a row whose vector becomes the embedding.
  std::int64_t pooled_position(const std::int32_t* ids, std::int64_t length) const;
};

}  // namespace torchclip::core
