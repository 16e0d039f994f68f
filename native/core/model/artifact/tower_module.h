// One tower of a model as a TorchScript module of its own, for servers of PyTorch models such as Triton.
#pragma once

#include <string>

#include "model/artifact/stored_type.h"

namespace torchclip::core {

enum class TowerKind { image, text };

// Writes the tower of an artifact as a module whose forward() takes images (uint8 [N, S, S, 3], resized and cropped as
// preprocess() does) or token ids (int64 [N, L]) and returns embeddings of length 1 (float32 [N, dim]). It computes in
// the type of its weights, `type`. The code is generated from the settings; that of the artifact is not read. Writes to
// `path` directly; pass a temporary name and rename the file afterwards. Throws what Artifact throws,
// Error(E_ARGUMENT) for a third-party export, whose code is not torchclip's, and Error(E_WRITE).
void write_tower_module(const std::string& artifact, TowerKind tower, StoredType type, const std::string& path);

}  // namespace torchclip::core
