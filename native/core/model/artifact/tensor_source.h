// The tensors of an artifact that is being written: byte ranges of weight files, joined, transposed and converted.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "model/artifact/number_type.h"

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

// Weight files by their paths. Each is opened once.
class WeightFiles {
 public:
  std::shared_ptr<const File> open(const std::string& path);

 private:
  std::map<std::string, std::shared_ptr<const File>> files_;
};

class TensorSource {
 public:
  // Checks the parts without reading them. Throws Error(E_MODEL_CORRUPT) if a range does not fit its shape or its file,
  // a type is unknown, or the shapes of the parts do not fit each other; and what File throws.
  TensorSource(const TensorSpec& spec, WeightFiles& files);

  StoredType type() const noexcept { return type_; }
  const std::vector<std::int64_t>& shape() const noexcept { return shape_; }
  // The size of all values in the stored type.
  std::uint64_t bytes() const noexcept { return bytes_; }

  // Passes all values to `take` in blocks, in their order and in the stored type (number_type.h, `convert`). One block
  // is in memory at a time; of a part that is transposed, the whole part.
  using Take = std::function<void(const char* values, std::size_t bytes)>;
  void read(const Take& take) const;

 private:
  struct Part {
    std::shared_ptr<const File> file;
    std::uint64_t offset = 0, bytes = 0;
    NumberType type = NumberType::f32;
    bool transpose = false;
    std::size_t rows = 0, columns = 0;  // In the file, of a part that is transposed.
  };

  void add_part(const TensorPart& part, const std::string& name, WeightFiles& files);
  void join_shape(std::vector<std::int64_t> shape, const std::string& name);
  void read_straight(const Part& part, const Take& take) const;
  void read_transposed(const Part& part, const Take& take) const;
  void pass_on(NumberType from, const std::vector<char>& values, const Take& take) const;

  StoredType type_;
  std::vector<std::int64_t> shape_;
  std::uint64_t bytes_ = 0;
  std::vector<Part> parts_;
};

}  // namespace torchclip::core
