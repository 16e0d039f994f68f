// Layer norms, and the conversion of rows to the input of a linear layer.
#pragma once

#include <string>

#include "linalg/arena.h"
#include "linalg/packed.h"
#include "model/config/weights.h"

namespace torchclip::core {

struct LayerNorm {
  Tensor gamma, beta;
  float eps = 1e-5f;
  LayerNorm() = default;
  LayerNorm(const Weights& weights, const std::string& key, float eps);

  // Normalises the rows of `in` (f32) and converts them to the element type of `out`. `out` may be `in`.
  void normalize(const Context& context, const ConstMatrix& in, const Matrix& out) const;
  // As normalize(), on the calling thread only. Without gamma the rows are only converted.
  void normalize_here(const Kernels& kernels, const ConstMatrix& in, const Matrix& out) const;
};

// Returns the rows of `in` (f32) as input of linear layers that take `type`: a new matrix, normalised if `norm` is not
// null. An s8 row is scaled so that its largest element is 127.
Matrix linear_input(const Context& context, Arena& arena, const ConstMatrix& in, const LayerNorm* norm, DType type);

// Returns `in` (f32) itself if linear layers take it as it is, and otherwise converted.
ConstMatrix as_linear_input(const Context& context, Arena& arena, const ConstMatrix& in, DType type);

}  // namespace torchclip::core
