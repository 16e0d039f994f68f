// The model's parameters by their names in the artifact.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace torchclip::core {

// A float32 tensor of the model, kept by its owner or by `keep`.
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

// As float32; an empty tensor where there is none of that name.
using Weights = std::function<Tensor(const std::string& name)>;

// The same where it must be there: throws Error(E_MODEL_CORRUPT) with its name.
Tensor need(const Weights& weights, const std::string& name);
// And of this shape, the inner dimensions counted together.
Tensor need(const Weights& weights, const std::string& name, std::int64_t rows, std::int64_t inner);

// A copy that holds nothing but its own values: for what a tower keeps, so that the memory of the file's tensors is
// free once the weights are packed.
Tensor copied(const Tensor& tensor);

// A matrix [inner, columns] that rows are multiplied with from the left, as a Linear layer keeps it: [columns, inner].
std::vector<float> transposed(const Tensor& matrix);

}  // namespace torchclip::core
