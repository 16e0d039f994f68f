#include "model/cpu/layer_norm.h"

#include <algorithm>

namespace torchclip::core {
namespace {

constexpr std::int64_t kRowsOfTask = 16;

}  // namespace

LayerNorm::LayerNorm(const Weights& weights, const std::string& key, float epsilon)
    : gamma(copied(need(weights, key + ".weight"))), beta(copied(weights(key + ".bias"))), eps(epsilon) {}

void LayerNorm::normalize(const Context& context, const ConstMatrix& in, const Matrix& out) const {
  context.pool.parallel_for((in.rows + kRowsOfTask - 1) / kRowsOfTask, [&](std::int64_t task) {
    const std::int64_t first = task * kRowsOfTask, count = std::min(kRowsOfTask, in.rows - first);
    normalize_here(context.kernels, in.row_slice(first, count), out.row_slice(first, count));
  });
}

void LayerNorm::normalize_here(const Kernels& kernels, const ConstMatrix& in, const Matrix& out) const {
  kernels.layer_norm(in.row<float>(0), in.stride, in.rows, in.columns, gamma.data, beta.data, eps, out.type, out.data,
                     out.stride_bytes(), out.scales, out.sums);
}

Matrix linear_input(const Context& context, Arena& arena, const ConstMatrix& in, const LayerNorm* norm, DType type) {
  const Matrix input = arena.matrix(in.rows, in.columns, type);
  const LayerNorm none;
  (norm ? *norm : none).normalize(context, in, input);
  return input;
}

ConstMatrix as_linear_input(const Context& context, Arena& arena, const ConstMatrix& in, DType type) {
  return in.type == type ? in : linear_input(context, arena, in, nullptr, type);
}

}  // namespace torchclip::core
