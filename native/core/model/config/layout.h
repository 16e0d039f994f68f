// Derives the tensors of a tower, with their shapes, and its TorchScript from its settings.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace torchclip::core {

// The TorchScript methods of one module.
struct ModuleSource {
  std::string path;  // A dotted path; "" is the root.
  std::string source;
};

// Shapes by dotted path. An axis of -1 accepts any size of at least 1.
using Shapes = std::map<std::string, std::vector<std::int64_t>>;

// What makes the embedding of the pooled feature: nothing (both are equal), a matrix, or something else.
enum class ProjectionKind : std::uint8_t { none, linear, other };

struct ImageProjection {
  ProjectionKind kind = ProjectionKind::none;
  // The tensors of a linear one. The matrix is [pooled_dim, embed_dim], or [embed_dim, pooled_dim] as torch's Linear
  // has it. The bias may be empty.
  std::string matrix, bias;
  bool transposed = false;
};

// A low-rank adapter (LoRA; Hu et al. 2021, arXiv:2106.09685) beside attention projections of each block of a tower
// that is trained: to the projection x W^T + b it adds scale * dropout(x) A^T B^T. It is part of no artifact.
struct LoraLayout {
  std::int64_t rank = 0;  // Rows of A [rank, width] and columns of B [width, rank]; at least 1.
  double scale = 0;       // alpha / rank, or alpha / sqrt(rank) (rsLoRA; Kalajdzievski 2023, arXiv:2312.03732).
  double dropout = 0;     // The share of the input of A that is dropped where gradients are computed; 0 to 1.
  bool query = false, key = false, value = false, output = false;  // The projections that get one.
};

struct TowerLayout {
  Shapes shapes;
  std::vector<ModuleSource> modules;  // Children before the parents that call them; the last is the tower.
  // Image towers: a method pooled(self, image) of the last module, and what it calls, which give the pooled feature
  // (ImageOutput). They are no part of an artifact; the generic runner adds them to the modules of the same path.
  std::vector<ModuleSource> pooled_methods;
  std::int64_t pooled_dim = 0;      // Image towers: the width of the pooled feature; 0: it gives none.
  ImageProjection projection;       // Image towers.
  std::int64_t image_size = 0;      // Image towers: the side of the square input, in pixels.
  std::int64_t context_length = 0;  // Text towers: the number of token ids of one text.
  std::int64_t vocab_size = 0;      // Text towers.
  bool trims = false;               // Text towers: padding after the end may be omitted.
};

// The layouts of the towers, one per file. `config` is the object "image" or "text" of torchclip.json; the interfaces
// of lib/models/architectures describe its fields. Each function throws Error(E_MODEL_CORRUPT) if a field is missing,
// unknown, of another type, outside its range, or contradicts another field.
// With `lora` a tower of Transformer blocks gets the tensors blocks.N.attn.lora_q.a, lora_q.b ... and their branches.
TowerLayout vit_layout(const Json& config, std::int64_t embed_dim, const LoraLayout* lora = nullptr);
TowerLayout resnet_layout(const Json& config, std::int64_t embed_dim);
TowerLayout eva_layout(const Json& config, std::int64_t embed_dim);
TowerLayout convnext_layout(const Json& config, std::int64_t embed_dim);
TowerLayout fastvit_layout(const Json& config, std::int64_t embed_dim);
TowerLayout text_transformer_layout(const Json& config, std::int64_t embed_dim, const LoraLayout* lora = nullptr);
TowerLayout roberta_layout(const Json& config, std::int64_t embed_dim);

}  // namespace torchclip::core
