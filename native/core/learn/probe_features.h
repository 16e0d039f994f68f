// The features of a linear probe as the solver reads them, and their products with weights.
#pragma once

#include <cstdint>

#include "linalg/buffer.h"
#include "linalg/packed.h"

namespace torchclip::core {

// A copy of float32 rows with a one behind each, whose weight is the intercept, and zeros up to `stride`.
class ProbeFeatures {
 public:
  // rows: [count, dim], dense.
  ProbeFeatures(const float* rows, std::int64_t count, std::int64_t dim);

  std::int64_t rows() const noexcept { return rows_; }
  std::int64_t dim() const noexcept { return dim_; }
  std::int64_t stride() const noexcept { return stride_; }
  const float* row(std::int64_t i) const noexcept { return data_.as<float>() + i * stride_; }

 private:
  std::int64_t rows_, dim_, stride_;
  Buffer data_;
};

// The columns that hold `heads` values in a row of logits; those beyond `heads` are zero.
constexpr std::int64_t padded_heads(std::int64_t heads) { return round_up(heads, kProductColumns); }

// out [rows, padded_heads] = features x weights^T, for weights [heads, stride]. T is float or double; float64 sums are
// those of the float32 features widened to float64.
template <typename T>
void multiply(const Context& context, const ProbeFeatures& features, const T* weights, std::int64_t heads, T* out);

// out [heads, stride] = coefficients^T x features, for coefficients [rows, padded_heads].
template <typename T>
void multiply_transposed(const Context& context, const ProbeFeatures& features, const T* coefficients,
                         std::int64_t heads, T* out);

// out [stride, stride] = features^T diag(weights) features, computed in float32.
void weighted_gram(const Context& context, const ProbeFeatures& features, const float* weights, double* out);

// out [stride]: the diagonal of weighted_gram.
void weighted_squares(const Context& context, const ProbeFeatures& features, const float* weights, double* out);

}  // namespace torchclip::core
