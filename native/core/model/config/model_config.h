// torchclip.json, the settings inside an artifact: read whole, each field with its type and range.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "image/preprocess.h"
#include "model/config/attribute.h"
#include "model/config/layout.h"

namespace torchclip::core {

struct ModelConfig {
  Json json;  // all of it
  std::int64_t embed_dim = 0, image_size = 0, context_length = 0, vocab_size = 0;
  std::int64_t pad_id = 0;   // fills a row of token ids after its end
  bool text_trims = true;    // padding may be left away: the text encoder is causal, or masks it
  bool sigmoid = false;      // trained with the sigmoid loss: there is a logit_bias
  bool third_party = false;  // a TorchScript export with code of its own: no layouts are known
  Transform transform;       // of images, up to uint8
  std::array<double, 3> mean{}, std{};
  TowerLayout image, text;

  // Throws Error(E_MODEL_CORRUPT) where a field is missing, unknown, of another type or outside its range.
  static ModelConfig parse(const std::string& json);

  // Every tensor of the artifact: both towers', logit_scale and logit_bias.
  Shapes shapes() const;
  // The TorchScript of all modules, children before parents, the root last. Empty for a third-party export.
  std::vector<ModuleSource> modules() const;
  // What the root module is given, so that other programs find the sizes in the file.
  std::map<std::string, Attribute> attributes() const;

  // Throws Error(E_MODEL_CORRUPT) where the tensors of a file are not exactly those of shapes().
  void check_shapes(const Shapes& found) const;
  // Throws Error(E_MODEL_CORRUPT) where an attribute of a file contradicts attributes().
  void check_attributes(const std::map<std::string, PickledAttribute>& found) const;
};

}  // namespace torchclip::core
