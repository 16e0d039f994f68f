// Winograd's convolutions against sums over the taps in double.
#include "model/cpu/winograd.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/item.h"
#include "check.h"
#include "linalg/arena.h"
#include "linalg/matrix.h"
#include "machine.h"
#include "row_major.h"
#include "values.h"

using namespace torchclip::core;
using namespace torchclip::test;

namespace {

constexpr std::int64_t kTaps = 9;

struct Size {
  std::int64_t images, side, channels, columns;
};

struct Convolution {
  explicit Convolution(const Size& s)
      : size(s),
        in(values(static_cast<std::size_t>(s.images * s.side * s.side * s.channels), 8)),
        weights(values(static_cast<std::size_t>(s.columns * kTaps * s.channels), 9)),
        bias(values(static_cast<std::size_t>(s.columns), 10)) {}

  // One pixel of the output in one column, before ReLU.
  double sum(std::int64_t pixel, std::int64_t column) const {
    const std::int64_t side = size.side, channels = size.channels;
    const std::int64_t x = pixel % side, y = pixel / side % side, image = pixel / (side * side);
    const RowMajor pixels(in.data(), channels), rows(weights.data(), channels);
    double total = item(bias, column);
    for (std::int64_t tap = 0; tap < kTaps; ++tap) {
      const std::int64_t tap_y = y + tap / 3 - 1, tap_x = x + tap % 3 - 1;
      if (tap_y < 0 || tap_y >= side || tap_x < 0 || tap_x >= side) continue;
      const float* from = pixels[(image * side + tap_y) * side + tap_x];
      const float* weight = rows[column * kTaps + tap];
      for (std::int64_t k = 0; k < channels; ++k) total += static_cast<double>(from[k]) * weight[k];
    }
    return total;
  }

  Size size;
  std::vector<float> in, weights, bias;
};

double largest_error(const Context& context, const Convolution& c) {
  const auto [images, side, channels, columns] = c.size;
  const std::int64_t pixels = images * side * side;
  std::vector<float> out(static_cast<std::size_t>(pixels * columns), -1.0f);
  Arena arena;
  WinogradConvolution(context, Precision::fp32, c.weights.data(), c.bias.data(), columns, channels)
      .run(context, arena, ConstMatrix::dense(c.in.data(), pixels, channels), side,
           Matrix::dense(out.data(), pixels, columns));
  const RowMajor results(out.data(), columns);
  double largest = 0;
  for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
    for (std::int64_t column = 0; column < columns; ++column) {
      const double expected = std::max(c.sum(pixel, column), 0.0);
      largest = larger_error(largest, std::abs(expected - results[pixel][column]));
    }
  }
  return largest;
}

}  // namespace

// Channels that fill no register; weights that stay in the cache and such that do not.
TEST_CASE("convolutions of odd and even sides agree with sums over the taps") {
  for (const int threads : kThreadCounts) {
    Machine machine(threads);
    for (const Size& size : {Size{1, 1, 3, 5}, Size{2, 7, 8, 16}, Size{3, 6, 40, 33}, Size{1, 5, 96, 224}}) {
      CAPTURE(kernels_name());
      CAPTURE(threads);
      CAPTURE(size.images);
      CAPTURE(size.side);
      CAPTURE(size.channels);
      CAPTURE(size.columns);
      const double error = largest_error(machine.context(), Convolution(size));
      CHECK(error <= 2e-6 * std::sqrt(static_cast<double>(kTaps * size.channels)));
    }
  }
}
