// A model artifact read as data, through one descriptor. It is a zip archive in the layout of TorchScript whose
// tensors, settings and tokenizer are read and whose code never is. The bytes that are checked are the bytes that are
// loaded.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "model/artifact/pickle.h"
#include "model/artifact/stored_type.h"
#include "model/artifact/zip.h"
#include "model/config/model_config.h"
#include "model/config/weights.h"

namespace torchclip::core {

// A tensor inside the file: row-major, without gaps, little-endian.
struct StoredTensor {
  StoredType type = StoredType::f32;
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0, bytes = 0;  // In the file.
  std::int64_t elements() const;
};

class Artifact {
 public:
  // Opens and checks the artifact: the archive's directory, the names, sizes and places of its records, and its
  // settings (ModelConfig). Unless it is a third-party export, its tensors must be exactly those that the settings
  // require, in their shapes, each in its own record. Throws Error(E_MODEL_NOT_FOUND), Error(E_READ) or
  // Error(E_MODEL_CORRUPT) with the path and the first error.
  explicit Artifact(const std::string& path);

  const File& file() const noexcept { return *file_; }
  const ModelConfig& config() const noexcept { return config_; }
  const std::string& config_json() const noexcept { return config_json_; }
  const std::string& tokenizer_json() const noexcept { return tokenizer_json_; }

  // The tensors by dotted path. Empty for a third-party export, whose pickle is not read.
  const std::map<std::string, StoredTensor>& tensors() const noexcept { return tensors_; }
  // Reads `count` values of a tensor from value `first` on, as float32.
  void read_floats(const StoredTensor& tensor, std::int64_t first, std::int64_t count, float* to) const;
  // Reads the bytes of a tensor as they are stored.
  void read_bytes(const StoredTensor& tensor, void* to) const;
  // Returns the only element of the scalar with that name.
  float scalar(const std::string& name) const;

  // Reads tensors for the CPU and CUDA towers. Each call reads from the file into its own buffer, which lives as long
  // as the Tensor; buffers of destroyed tensors are reused. Keeps a reference to this artifact. With `parallel_for`,
  // the threads that it has read a tensor together; it calls work(i) for each i in [0, count).
  using ParallelFor = std::function<void(std::int64_t count, const std::function<void(std::int64_t)>& work)>;
  Weights weights(const ParallelFor& parallel_for) const;
  Weights weights() const;

 private:
  void read_records();
  void read_tensors();
  StoredTensor stored_tensor(const std::string& name, const PickledTensor& tensor) const;
  const ZipRecord& record(const std::string& name) const;

  std::shared_ptr<const File> file_;
  std::map<std::string, ZipRecord> records_;  // By name without the archive's root folder.
  bool has_constants_ = false;                // Constants of code that torchclip did not generate.
  std::string config_json_, tokenizer_json_;
  ModelConfig config_;
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace torchclip::core
