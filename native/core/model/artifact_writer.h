// Writes a model artifact: its settings decide what it holds, byte ranges of weight files fill its parameters. What the
// ranges mean (formats, key maps) is decided by the caller.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace torchclip::core {

// Part of a tensor as it lies in a file: little-endian, row-major, no gaps.
struct TensorPart {
  std::string file;
  std::uint64_t offset = 0, bytes = 0;
  std::string dtype;  // "F32", "F16", "BF16", "F64", "I64": safetensors' names
  std::vector<std::int64_t> shape;
  bool transpose = false;  // of a matrix, before it is joined to the other parts
};

struct TensorSpec {
  std::string name;               // dotted path in the module, e.g. "visual.conv1.weight"
  std::vector<TensorPart> parts;  // concatenated along the first axis
  std::string dtype;              // stored as: "F32", "F16" or "BF16"
};

struct ArtifactSpec {
  std::string config;     // torchclip.json
  std::string tokenizer;  // tokenizer.json
  std::vector<TensorSpec> tensors;
};

// Writes to `path` itself: give it a temporary name and rename. Throws Error(E_MODEL_CORRUPT) where the settings are
// wrong, the tensors are not those that they call for, or a range does not fit its file or shape; Error(E_WRITE) where
// the file cannot be written.
void write_artifact(const ArtifactSpec& spec, const std::string& path);

// The rest is for a third-party TorchScript export with methods encode_image(float [N, 3, S, S]) and encode_text(int64
// [N, L]), whose own code runs with the rights of this process: for trusted files alone.

// Width of the embeddings that both methods give, found by running them on zeros. Throws Error(E_MODEL_CORRUPT) where a
// method is missing, fails or gives another shape.
std::int64_t probe_torchscript(const std::string& path, std::int64_t image_size, std::int64_t context_length);

// The same export as an artifact: with the attributes and extra files that an artifact has, and a logit_scale of log
// 100 where it has none. Its code stays as it is.
void wrap_torchscript(const std::string& path, const std::string& config, const std::string& tokenizer,
                      const std::string& output);

}  // namespace torchclip::core
