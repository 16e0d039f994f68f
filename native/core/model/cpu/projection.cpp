#include "model/cpu/projection.h"

#include <algorithm>

namespace torchclip::core {

Linear projection_of(const Context& context, const Tensor& matrix, const float* bias) {
  return Linear(context, Precision::fp32, transposed(matrix).data(), bias, matrix.inner(), matrix.rows());
}

Linear linear_of(const Context& context, Precision precision, const Weights& weights, const std::string& key) {
  const auto w = need(weights, key + ".weight");
  return Linear(context, precision, w.data, weights(key + ".bias").data, w.rows(), w.inner());
}

const Linear& projection_for(ImageOutput output, const Linear& projection) {
  static const Linear none;
  return output == ImageOutput::pooled ? none : projection;
}

void project(const Context& context, const LayerNorm* norm, const Linear& projection, const Matrix& pooled,
             const Matrix& out) {
  if (norm) norm->normalize(context, pooled, pooled);
  if (projection) return projection.multiply(context, pooled, out);
  for (std::int64_t r = 0; r < pooled.rows; ++r) {
    std::copy_n(pooled.row<float>(r), pooled.columns, out.row<float>(r));
  }
}

}  // namespace torchclip::core
