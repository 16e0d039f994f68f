// The kernels of depthwise convolutions, and GELU of gated rows, against plain loops in double.
#include <cmath>
#include <cstring>
#include <vector>

#include "base/item.h"
#include "check.h"
#include "machine.h"
#include "row_major.h"
#include "values.h"

using namespace torchclip::core;
using namespace torchclip::test;

namespace {

struct Size {
  std::int64_t kernel, stride, width, channels;
};

struct Line {
  explicit Line(const Size& s)
      : size(s),
        in(values(static_cast<std::size_t>(s.kernel * s.width * s.channels), 1)),
        weights(values(static_cast<std::size_t>(s.kernel * s.kernel * s.channels), 2)),
        bias(values(static_cast<std::size_t>(s.channels), 3)) {}

  // One result, of the lines from `first_line` on; those before it lie outside the image.
  double sum(std::int64_t first_line, std::int64_t x, std::int64_t channel) const {
    const RowMajor pixels(in.data(), size.channels), taps(weights.data(), size.channels);
    double total = item(bias, channel);
    for (std::int64_t y = first_line; y < size.kernel; ++y) {
      for (std::int64_t k = 0; k < size.kernel; ++k) {
        const std::int64_t at = x * size.stride + k - size.kernel / 2;
        if (at < 0 || at >= size.width) continue;
        total += static_cast<double>(pixels[y * size.width + at][channel]) * taps[y * size.kernel + k][channel];
      }
    }
    return total;
  }

  Size size;
  std::vector<float> in, weights, bias;
};

constexpr float kUntouched = 99;

// The largest error of a line, written to rows that have one more column; infinite if that was touched.
double largest_error(const Line& line, std::int64_t first_line) {
  const auto [kernel, stride, width, channels] = line.size;
  const std::int64_t results = depthwise_side(width, stride), ldo = channels + 1;
  std::vector<const float*> lines;
  for (std::int64_t y = 0; y < kernel; ++y) {
    lines.push_back(y < first_line ? nullptr : line.in.data() + y * width * channels);
  }
  std::vector<float> out(static_cast<std::size_t>(results * ldo), kUntouched);
  DepthwiseLine args;
  args.kernel = kernel;
  args.stride = stride;
  args.lines = lines.data();
  args.width = width;
  args.channels = channels;
  args.weights = line.weights.data();
  args.bias = line.bias.data();
  args.out = out.data();
  args.ldo = ldo;
  kernels()->depthwise(args);
  const RowMajor written(out.data(), ldo);
  double largest = 0;
  for (std::int64_t x = 0; x < results; ++x) {
    for (std::int64_t c = 0; c < channels; ++c) {
      largest = larger_error(largest, std::abs(written[x][c] - line.sum(first_line, x, c)));
    }
    if (written[x][channels] != kUntouched) return INFINITY;
  }
  return largest;
}

}  // namespace

// Lines shorter and longer than what is computed together; channels that fill no register.
TEST_CASE("depthwise convolutions agree with sums over the taps, at the edges of the image too") {
  for (const std::int64_t kernel : {3, 7}) {
    for (const std::int64_t stride : {1, 2}) {
      for (const std::int64_t width : {1, 2, 3, 7, 8, 9, 14, 20, 33}) {
        for (const std::int64_t channels : {1, 5, 16, 51}) {
          const Line line({kernel, stride, width, channels});
          CAPTURE(kernels_name());
          CAPTURE(kernel);
          CAPTURE(stride);
          CAPTURE(width);
          CAPTURE(channels);
          for (const std::int64_t first_line : {std::int64_t{0}, kernel / 2}) {
            CHECK(largest_error(line, first_line) <= 2e-6 * static_cast<double>(kernel));
          }
        }
      }
    }
  }
}

TEST_CASE("GELU of gated rows agrees with the error function, in float32 and rounded to bf16") {
  constexpr std::int64_t kRows = 3;
  for (const std::int64_t width : {1, 7, 16, 45}) {
    const std::int64_t ldx = width + 2;
    auto x = values(static_cast<std::size_t>(kRows * ldx), 4);
    for (auto& v : x) v *= 6;
    const RowMajor inputs(x.data(), ldx);
    const auto random = values(static_cast<std::size_t>(width), 5);
    for (const float* gates : {static_cast<const float*>(nullptr), random.data()}) {
      for (const DType type : {DType::f32, DType::bf16}) {
        CAPTURE(kernels_name());
        CAPTURE(width);
        CAPTURE((gates != nullptr));
        CAPTURE(name_of(type));
        const std::int64_t ldo = row_bytes(type, width) + 8;
        std::vector<char> out(static_cast<std::size_t>(kRows * ldo));
        kernels()->gated_gelu(x.data(), ldx, kRows, width, gates, type, out.data(), ldo);
        for (std::int64_t r = 0; r < kRows; ++r) {
          for (std::int64_t i = 0; i < width; ++i) {
            const double expected = exact_gelu(static_cast<double>(inputs[r][i]) * (gates ? gates[i] : 1.0f));
            float got = 0;
            if (type == DType::f32) {
              std::memcpy(&got, out.data() + r * ldo + i * 4, sizeof got);
            } else {
              std::uint16_t half = 0;
              std::memcpy(&half, out.data() + r * ldo + i * 2, sizeof half);
              kernels()->widen_bf16(&half, 1, &got);
            }
            const double tolerance = 2e-6 + (type == DType::f32 ? 0 : std::abs(expected) / 256);
            CHECK(std::abs(got - expected) <= tolerance);
          }
        }
      }
    }
  }
}
