#include "model/cpu/conv_feed_forward.h"

#include <utility>

#include "base/item.h"

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

ConvFeedForward::Rows ConvFeedForward::Rows::first(std::int64_t rows) const {
  return {convolved.row_slice(0, rows), input.row_slice(0, rows), activated.row_slice(0, rows),
          narrowed.row_slice(0, rows)};
}

ConvFeedForward::Rows ConvFeedForward::make_rows(Arena& arena, std::int64_t rows) const {
  const DType type = up_.type();
  Rows r;
  r.convolved = arena.matrix(rows, conv_.columns(), DType::f32);
  r.input = type == DType::f32 ? r.convolved : arena.matrix(rows, conv_.columns(), type);
  r.activated = arena.matrix(rows, up_.columns(), type == DType::s8 ? DType::f32 : type);
  r.narrowed = type == DType::s8 ? arena.matrix(rows, up_.columns(), type) : r.activated;
  return r;
}

void ConvFeedForward::make_input(const Kernels& kernels, const Features& in, std::int64_t begin, std::int64_t count,
                                 const Rows& rows) const {
  conv_.run_lines(kernels, in, begin, count, rows.convolved);
  if (norm_.gamma.data || rows.input.type != DType::f32) norm_.normalize_here(kernels, rows.convolved, rows.input);
}

void ConvFeedForward::run_grouped(const Context& context, Arena& arena, const Features& in, const Matrix& out) const {
  const std::int64_t most = lines_of_task(context, in.lines(), in.side) * in.side;
  std::vector<Rows> of_threads(static_cast<std::size_t>(context.pool.size()));
  for (Rows& rows : of_threads) rows = make_rows(arena, most);
  in_lines(context, in.lines(), in.side, [&](std::int64_t begin, std::int64_t count, int thread) {
    const std::int64_t first = begin * in.side, pixels = count * in.side;
    const Rows rows = item(of_threads, thread).first(pixels);
    make_input(context.kernels, in, begin, count, rows);
    up_.multiply_here(rows.input, rows.activated, {.activation = Activation::gelu});
    if (rows.narrowed.type != rows.activated.type) {
      LayerNorm().normalize_here(context.kernels, rows.activated, rows.narrowed);
    }
    down_.multiply_here(rows.narrowed, out.row_slice(first, pixels), {.residual = in.pixels.row_slice(first, pixels)});
  });
}

void ConvFeedForward::run_stepwise(const Context& context, Arena& arena, const Features& in, const Matrix& out) const {
  const DType type = up_.type();
  const Matrix input = arena.matrix(in.pixels.rows, in.pixels.columns, type);
  const Matrix activated = arena.matrix(in.pixels.rows, up_.columns(), type == DType::s8 ? DType::f32 : type);
  std::vector<Matrix> convolved(type == DType::f32 ? 0
                                                   : static_cast<std::size_t>(context.pool.size()));  // Of each thread.
  for (Matrix& rows : convolved) {
    rows = arena.matrix(lines_of_task(context, in.lines(), in.side) * in.side, input.columns, DType::f32);
  }
  in_lines(context, in.lines(), in.side, [&](std::int64_t begin, std::int64_t count, int thread) {
    Rows rows;
    rows.input = input.row_slice(begin * in.side, count * in.side);
    rows.convolved = convolved.empty() ? rows.input : item(convolved, thread).row_slice(0, count * in.side);
    make_input(context.kernels, in, begin, count, rows);
  });
  up_.multiply(context, input, activated, {.activation = Activation::gelu});
  down_.multiply(context, as_linear_input(context, arena, activated, type), out, {.residual = in.pixels});
}

}  // namespace torchclip::core
