#include "model/cpu/winograd.h"

#include <algorithm>

#include "base/item.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kProducts = 16;
// Each task computes some tiles of pixels from end to end in its core's cache if the weights fit there as well.
// Otherwise each step is computed for all tiles.
constexpr std::int64_t kTaskBytes = 448 << 10, kCachedWeights = 1200 << 10;
constexpr std::int64_t kTilesOfTask = 16;

}  // namespace

WinogradConvolution::WinogradConvolution(const Context& context, Precision precision, const float* weights,
                                         const float* bias, std::int64_t columns, std::int64_t channels)
    : channels_(channels),
      columns_(columns),
      bias_(bias, bias + columns),
      outside_(static_cast<std::size_t>(channels), 0.0f) {
  // G g G^T
  constexpr double kG[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
  std::vector<float> transposed(static_cast<std::size_t>(columns * channels));
  for (std::int64_t i = 0; i < kProducts; ++i) {
    const double *down = kG[i / 4], *across = kG[i % 4];
    context.pool.parallel_for(columns, [&](std::int64_t n) {
      const float* from = weights + n * 9 * channels;
      for (std::int64_t c = 0; c < channels; ++c) {
        double sum = 0;
        for (int y = 0; y < 3; ++y) {
          for (int x = 0; x < 3; ++x) sum += down[y] * across[x] * from[(3 * y + x) * channels + c];
        }
        item(transposed, n * channels + c) = static_cast<float>(sum);
      }
    });
    linears_.emplace_back(context, precision, transposed.data(), nullptr, columns, channels);
  }
}

std::size_t WinogradConvolution::bytes() const noexcept {
  std::size_t n = bias_.size() * 4;
  for (const auto& linear : linears_) n += linear.bytes();
  return n;
}

void WinogradConvolution::transform_input(const Context& context, const ConstMatrix& in, std::int64_t side,
                                          std::int64_t begin, std::int64_t end, const Products& values) const {
  const std::int64_t line = (side + 1) / 2;
  for (std::int64_t t = begin; t < end; ++t) {
    const std::int64_t x = t % line * 2, y = t / line % line * 2, image = t / (line * line);
    const float* taps[kProducts];
    for (std::int64_t i = 0; i < kProducts; ++i) {
      const std::int64_t py = y - 1 + i / 4, px = x - 1 + i % 4;
      const bool inside = py >= 0 && py < side && px >= 0 && px < side;
      taps[i] = inside ? in.row<float>((image * side + py) * side + px) : outside_.data();
    }
    context.kernels.winograd_input(taps, channels_, values.data + (t - begin) * channels_, values.distance);
  }
}

void WinogradConvolution::transform_output(const Context& context, const Products& products, std::int64_t side,
                                           std::int64_t begin, std::int64_t end, const Matrix& out) const {
  const std::int64_t line = (side + 1) / 2;
  for (std::int64_t t = begin; t < end; ++t) {
    const std::int64_t x = t % line * 2, y = t / line % line * 2, image = t / (line * line);
    float* pixels[4];
    for (std::int64_t i = 0; i < 4; ++i) {
      const std::int64_t py = y + i / 2, px = x + i % 2;
      pixels[i] = py < side && px < side ? out.row<float>((image * side + py) * side + px) : nullptr;
    }
    context.kernels.winograd_output(products.data + (t - begin) * columns_, products.distance, columns_, bias_.data(),
                                    pixels);
  }
}

void WinogradConvolution::run(const Context& context, Arena& arena, const ConstMatrix& in, std::int64_t side,
                              const Matrix& out) const {
  const Arena::Scope scope(arena);
  if (kProducts * channels_ * columns_ * 4 <= kCachedWeights) {
    run_grouped(context, arena, in, side, out);
  } else {
    run_stepwise(context, arena, in, side, out);
  }
}

void WinogradConvolution::run_grouped(const Context& context, Arena& arena, const ConstMatrix& in, std::int64_t side,
                                      const Matrix& out) const {
  const std::int64_t line = (side + 1) / 2, tiles = in.rows / (side * side) * line * line;
  const std::int64_t tile_rows = context.kernels.gemm(Precision::fp32).tile_rows;
  const std::int64_t tile_bytes = kProducts * (channels_ + columns_) * 4;
  const std::int64_t group = std::max<std::int64_t>(1, kTaskBytes / tile_bytes / tile_rows) * tile_rows;
  const std::int64_t floats = kProducts * group * (channels_ + columns_);
  float* scratch = arena.array<float>(floats * context.pool.size());
  context.pool.parallel_for((tiles + group - 1) / group, [&](std::int64_t task, int thread) {
    const std::int64_t begin = task * group, end = std::min(tiles, begin + group);
    const Products values{scratch + thread * floats, group * channels_};
    const Products products{values.of(kProducts), group * columns_};
    transform_input(context, in, side, begin, end, values);
    for (std::int64_t i = 0; i < kProducts; ++i) {
      item(linears_, i)
          .multiply_here(ConstMatrix::dense(values.of(i), end - begin, channels_),
                         Matrix::dense(products.of(i), end - begin, columns_));
    }
    transform_output(context, products, side, begin, end, out);
  });
}

void WinogradConvolution::run_stepwise(const Context& context, Arena& arena, const ConstMatrix& in, std::int64_t side,
                                       const Matrix& out) const {
  const std::int64_t line = (side + 1) / 2, tiles = in.rows / (side * side) * line * line;
  const Products values{arena.array<float>(kProducts * tiles * channels_), tiles * channels_};
  const Products products{arena.array<float>(kProducts * tiles * columns_), tiles * columns_};
  const std::int64_t tasks = (tiles + kTilesOfTask - 1) / kTilesOfTask;
  context.pool.parallel_for(tasks, [&](std::int64_t task) {
    const std::int64_t begin = task * kTilesOfTask, end = std::min(tiles, begin + kTilesOfTask);
    transform_input(context, in, side, begin, end, {values.data + begin * channels_, values.distance});
  });
  for (std::int64_t i = 0; i < kProducts; ++i) {
    item(linears_, i)
        .multiply(context, ConstMatrix::dense(values.of(i), tiles, channels_),
                  Matrix::dense(products.of(i), tiles, columns_));
  }
  context.pool.parallel_for(tasks, [&](std::int64_t task) {
    const std::int64_t begin = task * kTilesOfTask, end = std::min(tiles, begin + kTilesOfTask);
    transform_output(context, {products.data + begin * columns_, products.distance}, side, begin, end, out);
  });
}

}  // namespace torchclip::core
