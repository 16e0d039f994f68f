// What the settings of a tower determine: its tensors with their shapes, and its TorchScript.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace torchclip::core {

// TorchScript methods of one module.
struct ModuleSource {
  std::string path;  // dotted, "" for the root
  std::string source;
};

// Shapes by dotted path. An axis of -1 takes any size from 1 on.
using Shapes = std::map<std::string, std::vector<std::int64_t>>;

struct TowerLayout {
  Shapes shapes;
  std::vector<ModuleSource> modules;  // children before the parents that call them; the last is the tower's own
  std::int64_t image_size = 0;        // of an image tower: side of its square input, pixels
  std::int64_t context_length = 0;    // of a text tower: token ids of one text
  std::int64_t vocab_size = 0;        // of a text tower
  bool trims = false;                 // of a text tower: padding after the end may be left away
};

// The layouts of the towers, one a file; `config` is the object "image" or "text" of torchclip.json, whose fields are
// described by the interfaces of lib/models/architectures. Each throws Error(E_MODEL_CORRUPT) where a field is missing,
// unknown, of another type, outside its range, or contradicts another.
TowerLayout vit_layout(const Json& config, std::int64_t embed_dim);
TowerLayout resnet_layout(const Json& config, std::int64_t embed_dim);
TowerLayout eva_layout(const Json& config, std::int64_t embed_dim);
TowerLayout convnext_layout(const Json& config, std::int64_t embed_dim);
TowerLayout fastvit_layout(const Json& config, std::int64_t embed_dim);
TowerLayout text_transformer_layout(const Json& config, std::int64_t embed_dim);
TowerLayout roberta_layout(const Json& config, std::int64_t embed_dim);

}  // namespace torchclip::core
