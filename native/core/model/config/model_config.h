// torchclip.json, the settings inside an artifact. The whole file is read, each field with its type and range.
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
  Json json;  // The whole file.
  std::int64_t embed_dim = 0, image_size = 0, context_length = 0, vocab_size = 0;
  std::int64_t pad_id = 0;   // Fills a row of token ids after its end.
  bool text_trims = true;    // Padding may be omitted: the text encoder is causal or masks it.
  bool sigmoid = false;      // Trained with the sigmoid loss: there is a logit_bias.
  bool third_party = false;  // A TorchScript export with its own code and no known layout.
  Transform transform;       // The transform of images up to uint8.
  std::array<double, 3> mean{}, std{};
  TowerLayout image, text;

  // Throws Error(E_MODEL_CORRUPT) if a field is missing, unknown, of another type or outside its range.
  static ModelConfig parse(const std::string& json);

  // All tensors of the artifact: those of both towers, logit_scale and logit_bias.
  Shapes shapes() const;
  // The TorchScript of all modules, children before parents, the root last. Empty for a third-party export.
  std::vector<ModuleSource> modules() const;
  // The attributes of the root module, so that other programs find the sizes in the file.
  std::map<std::string, Attribute> attributes() const;

  // The towers with adapters. Throws Error(E_ARGUMENT) for a tower without Transformer blocks of CLIP's kind.
  TowerLayout image_with_lora(const LoraLayout& lora) const;
  TowerLayout text_with_lora(const LoraLayout& lora) const;

  // Throws Error(E_MODEL_CORRUPT) if the tensors of a file are not exactly those of shapes().
  void check_shapes(const Shapes& found) const;
  // Throws Error(E_MODEL_CORRUPT) if an attribute of a file contradicts attributes().
  void check_attributes(const std::map<std::string, PickledAttribute>& found) const;
};

}  // namespace torchclip::core
