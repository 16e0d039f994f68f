// Writes a model artifact. The settings determine its tensors, and byte ranges of weight files fill them. The caller
// decides what the ranges mean (formats, key maps).
#pragma once

#include <string>
#include <vector>

#include "model/artifact/tensor_source.h"

namespace torchclip::core {

struct ArtifactSpec {
  std::string config;     // torchclip.json
  std::string tokenizer;  // tokenizer.json
  std::vector<TensorSpec> tensors;
};

// Writes to `path` directly; pass a temporary name and rename the file afterwards. The same contents give the same
// bytes. torch.jit.load reads the file. Throws Error(E_MODEL_CORRUPT) if the settings are wrong, the tensors are not
// those that the settings require, or a range does not fit its file or shape, and Error(E_WRITE) if the file cannot be
// written; and what File throws for a weight file that is missing or cannot be read.
void write_artifact(const ArtifactSpec& spec, const std::string& path);

}  // namespace torchclip::core
