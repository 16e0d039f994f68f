// Writes a model artifact. The settings determine its tensors, and byte ranges of weight files fill them. The caller
// decides what the ranges mean (formats, key maps).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace torchclip::core {

// Part of a tensor as it is stored in a file: little-endian, row-major, without gaps.
struct TensorPart {
  std::string file;
  std::uint64_t offset = 0, bytes = 0;
  std::string dtype;  // "F32", "F16", "BF16", "F64", "I64": safetensors' names
  std::vector<std::int64_t> shape;
  bool transpose = false;  // Transposes a matrix before it is joined to the other parts.
};

struct TensorSpec {
  std::string name;               // dotted path in the module, e.g. "visual.conv1.weight"
  std::vector<TensorPart> parts;  // concatenated along the first axis
  std::string dtype;              // The stored type: "F32", "F16" or "BF16".
};

struct ArtifactSpec {
  std::string config;     // torchclip.json
  std::string tokenizer;  // tokenizer.json
  std::vector<TensorSpec> tensors;
};

// Writes to `path` directly; pass a temporary name and rename the file afterwards. Throws Error(E_MODEL_CORRUPT) if the
// settings are wrong, the tensors are not those that the settings require, or a range does not fit its file or shape,
// and Error(E_WRITE) if the file cannot be written.
void write_artifact(const ArtifactSpec& spec, const std::string& path);

// The functions below are for a third-party TorchScript export with methods encode_image(float [N, 3, S, S]) and
// encode_text(int64 [N, L]). Its own code runs with the rights of this process, so the file must be trusted.

// Returns the width of the embeddings that both methods return, which is found by running them on zeros. Throws
// Error(E_MODEL_CORRUPT) if a method is missing, fails or returns another shape.
std::int64_t probe_torchscript(const std::string& path, std::int64_t image_size, std::int64_t context_length);

// Writes the export as an artifact with the attributes and extra files of an artifact. If it has no logit_scale, log
// 100 is used. Its code is unchanged.
void wrap_torchscript(const std::string& path, const std::string& config, const std::string& tokenizer,
                      const std::string& output);

}  // namespace torchclip::core
