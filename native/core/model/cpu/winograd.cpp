#include "model/cpu/winograd.h"

#include <algorithm>

namespace torchclip::core {
namespace {

constexpr std::int64_t kProducts = 16;
// Tiles of pixels are transformed, multiplied and finished by one task in its core's cache where the weights fit there
// as well, else each step is done for all tiles.
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
        transposed[n * channels + c] = static_cast<float>(sum);
      }
    });
    products_.emplace_back(context, precision, transposed.data(), nullptr, columns, channels);
  }
}

std::size_t WinogradConvolution::bytes() const noexcept {
  std::size_t n = bias_.size() * 4;
  for (const auto& p : products_) n += p.bytes();
  return n;
}

// Tiles [begin, end) of the images to values: [16][.. distance floats ..][channels].
void WinogradConvolution::transform(const Context& context, const Shape& shape, const float* in, std::int64_t begin,
                                    std::int64_t end, float* values, std::int64_t distance) const {
  const std::int64_t side = shape.side, line = (side + 1) / 2;
  for (std::int64_t t = begin; t < end; ++t) {
    const std::int64_t x = t % line * 2, y = t / line % line * 2, image = t / (line * line);
    const float* taps[kProducts];
    for (std::int64_t i = 0; i < kProducts; ++i) {
      const std::int64_t py = y - 1 + i / 4, px = x - 1 + i % 4;
      const bool inside = py >= 0 && py < side && px >= 0 && px < side;
      taps[i] = inside ? in + ((image * side + py) * side + px) * channels_ : outside_.data();
    }
    context.kernels.winograd_input(taps, channels_, values + (t - begin) * channels_, distance);
  }
}

void WinogradConvolution::finish(const Context& context, const Shape& shape, const float* products,
                                 std::int64_t distance, std::int64_t begin, std::int64_t end, float* out) const {
  const std::int64_t side = shape.side, line = (side + 1) / 2;
  for (std::int64_t t = begin; t < end; ++t) {
    const std::int64_t x = t % line * 2, y = t / line % line * 2, image = t / (line * line);
    float* pixels[4];
    for (std::int64_t i = 0; i < 4; ++i) {
      const std::int64_t py = y + i / 2, px = x + i % 2;
      pixels[i] = py < side && px < side ? out + ((image * side + py) * side + px) * columns_ : nullptr;
    }
    context.kernels.winograd_output(products + (t - begin) * columns_, distance, columns_, bias_.data(), pixels);
  }
}

void WinogradConvolution::run(const Context& context, const float* in, std::int64_t images, std::int64_t side,
                              float* out, Buffer& scratch) const {
  const std::int64_t line = (side + 1) / 2, tiles = images * line * line;
  const Shape shape{side, tiles};
  const auto multiply = [&](std::int64_t i, const float* values, float* products, std::int64_t rows) {
    products_[i].multiply_here({values, channels_ * 4}, rows, {products, columns_});
  };
  if (kProducts * channels_ * columns_ * 4 <= kCachedWeights) {
    const std::int64_t tile = context.kernels.gemm(Precision::fp32).tile_rows,
                       each = kProducts * (channels_ + columns_) * 4;
    const std::int64_t rows = std::max<std::int64_t>(1, kTaskBytes / each / tile) * tile;
    const std::int64_t floats = kProducts * rows * (channels_ + columns_);
    scratch.grow(static_cast<std::size_t>(floats * context.pool.size()) * 4);
    context.pool.parallel_for((tiles + rows - 1) / rows, [&](std::int64_t task, int thread) {
      float* values = scratch.as<float>() + thread * floats;
      float* products = values + kProducts * rows * channels_;
      const std::int64_t begin = task * rows, end = std::min(tiles, begin + rows);
      transform(context, shape, in, begin, end, values, rows * channels_);
      for (std::int64_t i = 0; i < kProducts; ++i) {
        multiply(i, values + i * rows * channels_, products + i * rows * columns_, end - begin);
      }
      finish(context, shape, products, rows * columns_, begin, end, out);
    });
    return;
  }
  scratch.grow(static_cast<std::size_t>(kProducts * tiles * (channels_ + columns_)) * 4);
  float* values = scratch.as<float>();
  float* products = values + kProducts * tiles * channels_;
  const std::int64_t tasks = (tiles + kTilesOfTask - 1) / kTilesOfTask;
  const auto part = [&](std::int64_t task, const auto& work) {
    work(task * kTilesOfTask, std::min(tiles, (task + 1) * kTilesOfTask));
  };
  context.pool.parallel_for(tasks, [&](std::int64_t task) {
    part(task, [&](std::int64_t begin, std::int64_t end) {
      transform(context, shape, in, begin, end, values + begin * channels_, tiles * channels_);
    });
  });
  for (std::int64_t i = 0; i < kProducts; ++i) {
    products_[i].multiply(context, {values + i * tiles * channels_, channels_ * 4}, tiles,
                          {products + i * tiles * columns_, columns_});
  }
  context.pool.parallel_for(tasks, [&](std::int64_t task) {
    part(task, [&](std::int64_t begin, std::int64_t end) {
      finish(context, shape, products + begin * columns_, tiles * columns_, begin, end, out);
    });
  });
}

}  // namespace torchclip::core
