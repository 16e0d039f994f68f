// Writes a model artifact: TorchScript source compiled with torch::jit::Module::define, parameters filled from
// byte ranges of weight files. What the ranges mean (formats, key maps) is decided by the caller.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
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
  bool buffer = false;            // a buffer instead of a parameter
  std::string dtype;              // stored as: "F32", "F16" or "BF16"
};

struct ModuleSpec {
  std::string path;    // "" for the root, else dotted; parents are made as needed
  std::string source;  // TorchScript methods
};

using Attribute = std::variant<std::int64_t, std::vector<double>>;

struct ArtifactSpec {
  std::vector<ModuleSpec> modules;  // children before the parents that call them
  std::vector<TensorSpec> tensors;
  std::map<std::string, Attribute> attributes;     // of the root
  std::map<std::string, std::string> extra_files;  // name to content
};

// Writes to `path` itself: give it a temporary name and rename. Throws Error(E_MODEL_CORRUPT) where a range does
// not fit its file or shape, Error(E_WRITE) where the file cannot be written.
void write_artifact(const ArtifactSpec& spec, const std::string& path);

// A TorchScript export made by somebody else, with methods encode_image(float [N, 3, S, S]) and encode_text(int64 [N,
// L]). Width of the embeddings that both give, found by running them on zeros. Throws Error(E_MODEL_UNSAFE) as
// check_artifact() does, Error(E_MODEL_CORRUPT) where a method is missing, fails or gives
// another shape.
std::int64_t probe_torchscript(const std::string& path, std::int64_t image_size, std::int64_t context_length);

// The same export as an artifact: with the attributes and extra files that an artifact has, and a logit_scale of log
// 100 where it has none. Its code stays as it is.
void wrap_torchscript(const std::string& path, const std::map<std::string, Attribute>& attributes,
                      const std::map<std::string, std::string>& extra_files, const std::string& output);

}  // namespace torchclip::core
