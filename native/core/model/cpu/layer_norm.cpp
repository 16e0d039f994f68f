#include "model/cpu/layer_norm.h"

#include <algorithm>

namespace torchclip::core {
namespace {

constexpr std::int64_t kRowsOfTask = 16;

// Without a norm, the rows are only converted.
void normalize_rows(const Context& context, const ConstMatrix& in, const LayerNorm* norm, const Matrix& out) {
  const float* gamma = norm ? norm->gamma.data : nullptr;
  const float* beta = norm ? norm->beta.data : nullptr;
  const float eps = norm ? norm->eps : 0.0f;
  context.pool.parallel_for((in.rows + kRowsOfTask - 1) / kRowsOfTask, [&](std::int64_t task) {
    const std::int64_t first = task * kRowsOfTask, count = std::min(kRowsOfTask, in.rows - first);
    const ConstMatrix from = in.row_slice(first, count);
    const Matrix to = out.row_slice(first, count);
    context.kernels.layer_norm(from.row<float>(0), from.stride, count, in.columns, gamma, beta, eps, to.type, to.data,
                               to.stride_bytes(), to.scales, to.sums);
  });
}

}  // namespace

LayerNorm::LayerNorm(const Weights& weights, const std::string& key, float epsilon)
    : gamma(copied(need(weights, key + ".weight"))), beta(copied(weights(key + ".bias"))), eps(epsilon) {}

void LayerNorm::normalize(const Context& context, const ConstMatrix& in, const Matrix& out) const {
  normalize_rows(context, in, this, out);
}

Matrix linear_input(const Context& context, Arena& arena, const ConstMatrix& in, const LayerNorm* norm, DType type) {
  const Matrix input = arena.matrix(in.rows, in.columns, type);
  normalize_rows(context, in, norm, input);
  return input;
}

ConstMatrix as_linear_input(const Context& context, Arena& arena, const ConstMatrix& in, DType type) {
  return in.type == type ? in : linear_input(context, arena, in, nullptr, type);
}

}  // namespace torchclip::core
