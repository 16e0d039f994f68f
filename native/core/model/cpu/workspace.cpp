#include "model/cpu/workspace.h"

#include <algorithm>

namespace torchclip::core {
namespace {

constexpr std::int64_t kRowsOfTask = 16;

}  // namespace

LayerNorm::LayerNorm(const Weights& weights, const std::string& key, float epsilon)
    : gamma(copied(need(weights, key + ".weight"))), beta(copied(weights(key + ".bias"))), eps(epsilon) {}

std::size_t Workspace::bytes() const {
  std::size_t n = 0;
  for (const Buffer* b : {&x, &input, &qkv, &mixed, &hidden, &few, &scratch, &asked, &scales, &sums}) n += b->bytes();
  return n;
}

Linear::Input convert(const Context& context, const float* x, std::int64_t stride, std::int64_t rows,
                      std::int64_t width, const LayerNorm* norm, DType type, Workspace& workspace, Buffer& to) {
  const std::int64_t bytes = row_stride(type, width);
  to.grow(static_cast<std::size_t>(rows * bytes));
  workspace.scales.grow(static_cast<std::size_t>(rows) * 4);
  workspace.sums.grow(static_cast<std::size_t>(rows) * 4);
  auto* scales = workspace.scales.as<float>();
  auto* sums = workspace.sums.as<std::int32_t>();
  context.pool.parallel_for((rows + kRowsOfTask - 1) / kRowsOfTask, [&](std::int64_t task) {
    const std::int64_t first = task * kRowsOfTask, n = std::min(kRowsOfTask, rows - first);
    context.kernels.layer_norm(x + first * stride, stride, n, width, norm ? norm->gamma.data : nullptr,
                               norm ? norm->beta.data : nullptr, norm ? norm->eps : 0, type,
                               to.as<char>() + first * bytes, bytes, scales + first, sums + first);
  });
  return {to.as<void>(), bytes, scales, sums};
}

void normalize(const Context& context, const LayerNorm& norm, float* x, std::int64_t rows, std::int64_t width) {
  context.pool.parallel_for((rows + kRowsOfTask - 1) / kRowsOfTask, [&](std::int64_t task) {
    const std::int64_t first = task * kRowsOfTask, n = std::min(kRowsOfTask, rows - first);
    context.kernels.layer_norm(x + first * width, width, n, width, norm.gamma.data, norm.beta.data, norm.eps,
                               DType::f32, x + first * width, width * 4, nullptr, nullptr);
  });
}

}  // namespace torchclip::core
