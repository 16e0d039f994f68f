#include "model/config/weights.h"

#include "base/error.h"

namespace torchclip::core {

Tensor need(const Weights& weights, const std::string& name) {
  auto tensor = weights(name);
  if (!tensor.data) throw Error(TORCHCLIP_E_MODEL_CORRUPT, name + " is missing");
  return tensor;
}

Tensor need(const Weights& weights, const std::string& name, std::int64_t rows, std::int64_t inner) {
  auto tensor = need(weights, name);
  if (tensor.rows() != rows || tensor.inner() != inner) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, name + " has another shape than the model's settings say");
  }
  return tensor;
}

Tensor copied(const Tensor& tensor) {
  if (!tensor.data) return {};
  const auto values =
      std::make_shared<const std::vector<float>>(tensor.data, tensor.data + tensor.rows() * tensor.inner());
  return {values->data(), tensor.shape, values};
}

std::vector<float> transposed(const Tensor& matrix) {
  const std::int64_t inner = matrix.rows(), columns = matrix.inner();
  std::vector<float> out(static_cast<std::size_t>(inner * columns));
  float* to = out.data();
  for (std::int64_t i = 0; i < inner; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) to[j * inner + i] = matrix.data[i * columns + j];
  }
  return out;
}

std::vector<float> reordered(const Tensor& matrix, const std::vector<std::int64_t>& order) {
  const std::int64_t inner = matrix.inner();
  std::vector<float> out;
  for (std::int64_t n = 0; n < matrix.rows(); ++n) {
    for (const auto c : order) out.push_back(matrix.data[n * inner + c]);
  }
  return out;
}

}  // namespace torchclip::core
