#include "model/cpu/conv_feed_forward.h"

#include <utility>

namespace torchclip::core {
namespace {

// The weights of both linear layers stay in a core's second cache up to this size.
constexpr std::size_t kCachedWeights = 1200 << 10;

}  // namespace

ConvFeedForward::ConvFeedForward(const Context& context, Precision precision, const Weights& weights,
                                 DepthwiseConvolution conv, LayerNorm norm, const std::string& key, const Tensor& gamma)
    : conv_(std::move(conv)), norm_(std::move(norm)) {
  const std::int64_t width = conv_.columns();
  const auto up = need(weights, key + ".fc1.weight");
  const auto down = need(weights, key + ".fc2.weight", width, up.rows());
  up_ = Linear(context, precision, up.data, need(weights, key + ".fc1.bias").data, up.rows(), width);
  down_ = Linear(context, precision, down.data, need(weights, key + ".fc2.bias").data, width, up.rows(), gamma.data);
}

void ConvFeedForward::run(const Context& context, Arena& arena, const Features& in, const Matrix& out) const {
  const Arena::Scope scope(arena);
  if (up_.bytes() + down_.bytes() <= kCachedWeights) {
    run_grouped(context, arena, in, out);
  } else {
    run_stepwise(context, arena, in, out);
  }
}

void ConvFeedForward::make_input(const Kernels& kernels, const Features& in, std::int64_t begin, std::int64_t count,
                                 const Matrix& convolved, const Matrix& input) const {
  conv_.run_lines(kernels, in, begin, count, convolved);
  if (plain_input()) return;
  kernels.layer_norm(convolved.row<float>(0), convolved.stride, input.rows, input.columns, norm_.gamma.data,
                     norm_.beta.data, norm_.eps, input.type, input.data, input.stride_bytes(), nullptr, nullptr);
}

std::vector<Matrix> ConvFeedForward::convolved_of_threads(const Context& context, Arena& arena,
                                                          std::int64_t rows) const {
  std::vector<Matrix> matrices;
  for (int i = 0; i < context.pool.size(); ++i) matrices.push_back(arena.matrix(rows, conv_.columns(), DType::f32));
  return matrices;
}

void ConvFeedForward::run_grouped(const Context& context, Arena& arena, const Features& in, const Matrix& out) const {
  const std::int64_t most = lines_of_task(context, in.lines(), in.side) * in.side;
  const auto convolved = convolved_of_threads(context, arena, most);
  std::vector<Matrix> inputs, hidden;
  for (const Matrix& rows : convolved) {
    inputs.push_back(up_.type() == DType::f32 ? rows : arena.matrix(most, rows.columns, up_.type()));
    hidden.push_back(arena.matrix(most, up_.columns(), down_.type()));
  }
  in_lines(context, in.lines(), in.side, [&](std::int64_t begin, std::int64_t count, int thread) {
    const std::int64_t first = begin * in.side, rows = count * in.side;
    const Matrix input = inputs[thread].row_slice(0, rows), middle = hidden[thread].row_slice(0, rows);
    make_input(context.kernels, in, begin, count, convolved[thread].row_slice(0, rows), input);
    up_.multiply_here(input, middle, {.activation = Activation::gelu});
    down_.multiply_here(middle, out.row_slice(first, rows), {.residual = in.pixels.row_slice(first, rows)});
  });
}

void ConvFeedForward::run_stepwise(const Context& context, Arena& arena, const Features& in, const Matrix& out) const {
  const Matrix input = arena.matrix(in.pixels.rows, in.pixels.columns, up_.type());
  const Matrix hidden = arena.matrix(in.pixels.rows, up_.columns(), down_.type());
  std::vector<Matrix> convolved;
  if (up_.type() != DType::f32) {
    convolved = convolved_of_threads(context, arena, lines_of_task(context, in.lines(), in.side) * in.side);
  }
  in_lines(context, in.lines(), in.side, [&](std::int64_t begin, std::int64_t count, int thread) {
    const Matrix lines = input.row_slice(begin * in.side, count * in.side);
    make_input(context.kernels, in, begin, count, convolved.empty() ? lines : convolved[thread], lines);
  });
  up_.multiply(context, input, hidden, {.activation = Activation::gelu});
  down_.multiply(context, hidden, out, {.residual = in.pixels});
}

}  // namespace torchclip::core
