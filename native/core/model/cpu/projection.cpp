#include "model/cpu/projection.h"

#include <cstring>

namespace torchclip::core {

Linear projection_of(const Context& context, const Tensor& matrix, const float* bias) {
  return Linear(context, Precision::fp32, transposed(matrix).data(), bias, matrix.inner(), matrix.rows());
}

Linear linear_of(const Context& context, Precision precision, const Weights& weights, const std::string& key) {
  const auto w = need(weights, key + ".weight");
  return Linear(context, precision, w.data, weights(key + ".bias").data, w.rows(), w.inner());
}

void project(const Context& context, const LayerNorm* norm, const Linear& projection, float* rows, std::int64_t count,
             std::int64_t width, float* out) {
  if (norm) {
    context.kernels.layer_norm(rows, width, count, width, norm->gamma.data, norm->beta.data, norm->eps, DType::f32,
                               rows, width * 4, nullptr, nullptr);
  }
  if (projection) {
    projection.multiply(context, {rows, width * 4}, count, {out, projection.columns()});
  } else {
    std::memcpy(out, rows, static_cast<std::size_t>(count * width) * 4);
  }
}

}  // namespace torchclip::core
