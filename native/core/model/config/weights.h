// The model's parameters by their names in the artifact.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace torchclip::core {

// A float32 tensor of the model. Its memory is owned elsewhere or by `keep`.
struct Tensor {
  const float* data = nullptr;
  std::vector<std::int64_t> shape;
  std::shared_ptr<const void> keep;
  std::int64_t rows() const { return shape.empty() ? 1 : shape[0]; }
  std::int64_t inner() const {
    std::int64_t n = 1;
    for (std::size_t i = 1; i < shape.size(); ++i) n *= shape[i];
    return n;
  }
};

// Returns a tensor as float32, or an empty tensor if there is none of that name.
using Weights = std::function<Tensor(const std::string& name)>;

// Returns a tensor that must exist: throws Error(E_MODEL_CORRUPT) with its name if it does not.
Tensor need(const Weights& weights, const std::string& name);
// Also requires this shape; the inner dimensions are multiplied together.
Tensor need(const Weights& weights, const std::string& name, std::int64_t rows, std::int64_t inner);

// Returns a copy that owns its values, for tensors that a tower keeps, so that the memory of the file's tensors is
// freed once the weights are packed.
Tensor copied(const Tensor& tensor);

// Transposes a matrix [inner, columns], which rows are multiplied with from the left, to the layout of a Linear layer:
// [columns, inner].
std::vector<float> transposed(const Tensor& matrix);

// Returns the rows of a matrix with its columns in another order: column order[i] is at place i.
std::vector<float> reordered(const Tensor& matrix, const std::vector<std::int64_t>& order);

}  // namespace torchclip::core
