#include "model/cpu/conv_gelu.h"

#include <cmath>
#include <utility>

#include "base/item.h"

namespace torchclip::core {
namespace {

void apply_gelu(const Kernels& kernels, const ConstMatrix& in, const float* gates, const Matrix& out) {
  kernels.gated_gelu(in.row<float>(0), in.stride, in.rows, in.columns, gates, out.type, out.data, out.stride_bytes());
}

}  // namespace

SqueezeExcite::SqueezeExcite(const Context& context, const Weights& weights, const std::string& key,
                             const std::vector<std::int64_t>& order) {
  const auto width = static_cast<std::int64_t>(order.size());
  const auto reduce = need(weights, key + ".fc1.weight");
  const std::int64_t inner = reduce.rows();
  const auto expand = need(weights, key + ".fc2.weight", width, inner);
  const auto bias = need(weights, key + ".fc2.bias", width, 1);
  std::vector<float> expand_weights, expand_bias;
  for (const auto c : order) {
    expand_weights.insert(expand_weights.end(), expand.data + c * inner, expand.data + (c + 1) * inner);
    expand_bias.push_back(bias.data[c]);
  }
  reduce_ = Linear(context, Precision::fp32, reordered(reduce, order).data(), need(weights, key + ".fc1.bias").data,
                   inner, width);
  expand_ = Linear(context, Precision::fp32, expand_weights.data(), expand_bias.data(), width, inner);
}

Matrix SqueezeExcite::gates(const Context& context, Arena& arena, const ConstMatrix& pixels,
                            std::int64_t images) const {
  const Matrix gates = arena.dense(images, expand_.columns());
  const Arena::Scope scope(arena);
  const Matrix means = arena.dense(images, pixels.columns), reduced = arena.dense(images, reduce_.columns());
  mean_pixels(context, pixels, means);
  reduce_.multiply(context, means, reduced, {.activation = Activation::relu});
  expand_.multiply(context, reduced, gates);
  for (std::int64_t i = 0; i < images; ++i) {
    float* row = gates.row<float>(i);
    for (std::int64_t c = 0; c < gates.columns; ++c) row[c] = 1.0f / (1.0f + std::exp(-row[c]));
  }
  return gates;
}

ConvGelu::ConvGelu(DepthwiseConvolution conv, SqueezeExcite squeeze)
    : conv_(std::move(conv)), squeeze_(std::move(squeeze)) {}

void ConvGelu::run(const Context& context, Arena& arena, const Features& in, const Matrix& out) const {
  const Arena::Scope scope(arena);
  if (squeeze_) return run_gated(context, arena, in, out);
  const std::int64_t side = conv_.side(in.side), lines = out.rows / side;
  const std::int64_t most = lines_of_task(context, lines, side) * side;
  std::vector<Matrix> convolved(static_cast<std::size_t>(context.pool.size()));
  for (Matrix& rows : convolved) rows = arena.matrix(most, out.columns, DType::f32);
  in_lines(context, lines, side, [&](std::int64_t begin, std::int64_t count, int thread) {
    const Matrix rows = item(convolved, thread).row_slice(0, count * side);
    conv_.run_lines(context.kernels, in, begin, count, rows);
    apply_gelu(context.kernels, rows, nullptr, out.row_slice(begin * side, count * side));
  });
}

void ConvGelu::run_gated(const Context& context, Arena& arena, const Features& in, const Matrix& out) const {
  const std::int64_t side = conv_.side(in.side), images = in.images();
  const Matrix convolved = arena.dense(out.rows, out.columns);
  conv_.run(context, in, convolved);
  const Matrix gates = squeeze_.gates(context, arena, convolved, images);
  context.pool.parallel_for(images * side, [&](std::int64_t line) {
    apply_gelu(context.kernels, convolved.row_slice(line * side, side), gates.row<float>(line / side),
               out.row_slice(line * side, side));
  });
}

}  // namespace torchclip::core
