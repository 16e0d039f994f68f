// A model artifact read as data, through one descriptor: a zip archive in the layout of TorchScript whose tensors,
// settings and tokenizer are read, and whose code never is. What is checked here is what is loaded.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "model/artifact/pickle.h"
#include "model/artifact/zip.h"
#include "model/config/model_config.h"
#include "model/config/weights.h"

namespace torchclip::core {

enum class StoredType { f32, f16, bf16 };

// A tensor inside the file: row-major, without gaps, little-endian.
struct StoredTensor {
  StoredType type = StoredType::f32;
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0, bytes = 0;  // in the file
  std::int64_t elements() const;
};

class Artifact {
 public:
  // Opens and checks the artifact: the archive's directory, the names, sizes and places of its records, its settings
  // (ModelConfig), and, unless it is a third-party export, its tensors: exactly those that the settings call for, in
  // their shapes, each in a record of its own. Throws Error(E_MODEL_NOT_FOUND), Error(E_READ) or
  // Error(E_MODEL_CORRUPT) with the path and the first thing that is wrong.
  explicit Artifact(const std::string& path);

  const File& file() const noexcept { return *file_; }
  std::shared_ptr<const File> shared_file() const noexcept { return file_; }
  const ModelConfig& config() const noexcept { return config_; }
  const std::string& config_json() const noexcept { return config_json_; }
  const std::string& tokenizer_json() const noexcept { return tokenizer_json_; }

  // By dotted path; empty for a third-party export, whose pickle is not read.
  const std::map<std::string, StoredTensor>& tensors() const noexcept { return tensors_; }
  // The values of a tensor as float32 into `to`, which has room for all of them.
  void read_floats(const StoredTensor& tensor, float* to) const;
  // The bytes of a tensor as they are stored.
  void read_bytes(const StoredTensor& tensor, void* to) const;
  // The only element of the scalar of that name.
  float scalar(const std::string& name) const;

  // Reads tensors for the CPU and CUDA towers. Each call reads the file into a buffer of its own, which lives as long
  // as the Tensor; buffers of tensors that are gone are used again. Keeps a reference to this artifact.
  Weights weights() const;

 private:
  void read_records();
  void read_tensors();
  StoredTensor stored_tensor(const std::string& name, const PickledTensor& tensor) const;
  const ZipRecord& record(const std::string& name) const;

  std::shared_ptr<const File> file_;
  std::map<std::string, ZipRecord> records_;  // by name without the archive's own folder
  bool has_constants_ = false;                // tensors of code that is not torchclip's
  std::string config_json_, tokenizer_json_;
  ModelConfig config_;
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace torchclip::core
