// The layers of convolutional towers against plain loops in double.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "check.h"
#include "machine.h"
#include "model/cpu/conv_feed_forward.h"
#include "model/cpu/conv_gelu.h"
#include "model/cpu/pixel_taps.h"
#include "values.h"

using namespace torchclip::core;
using namespace torchclip::test;

namespace {

using Doubles = std::vector<double>;

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// Parameters by their names.
class Parameters {
 public:
  const std::vector<float>& add(const std::string& name, const std::vector<std::int64_t>& shape, float center = 0) {
    std::int64_t count = 1;
    for (const auto n : shape) count *= n;
    auto& values_of = tensors_[name].second;
    tensors_[name].first = shape;
    values_of = values(at(count), ++seed_);
    for (auto& v : values_of) v = center + 0.3f * v;
    return values_of;
  }
  void add_batch_norm(const std::string& name, std::int64_t width) {
    add(name + ".weight", {width}, 1);
    add(name + ".bias", {width});
    add(name + ".running_mean", {width});
    add(name + ".running_var", {width}, 1);
  }
  const std::vector<float>& operator[](const std::string& name) const { return tensors_.at(name).second; }
  Weights weights() const {
    return [this](const std::string& name) {
      const auto found = tensors_.find(name);
      if (found == tensors_.end()) return Tensor{};
      return Tensor{found->second.second.data(), found->second.first, nullptr};
    };
  }
  double normed(const std::string& norm, std::int64_t c, double x) const {
    const double variance = (*this)[norm + ".running_var"][at(c)] + 1e-5;
    return (x - (*this)[norm + ".running_mean"][at(c)]) / std::sqrt(variance) * (*this)[norm + ".weight"][at(c)] +
           (*this)[norm + ".bias"][at(c)];
  }

 private:
  std::map<std::string, std::pair<std::vector<std::int64_t>, std::vector<float>>> tensors_;
  std::uint32_t seed_ = 10;
};

// Feature maps of random numbers.
struct Image {
  std::int64_t images, side, channels;
  std::vector<float> data;
  Image(std::int64_t count, std::int64_t image_side, std::int64_t image_channels)
      : images(count),
        side(image_side),
        channels(image_channels),
        data(values(at(count * image_side * image_side * image_channels), 7)) {}
  Features features() { return {Matrix::dense(data.data(), images * side * side, channels), side}; }
  double pixel(std::int64_t image, std::int64_t y, std::int64_t x, std::int64_t c) const {
    if (y < 0 || y >= side || x < 0 || x >= side) return 0;
    return data[at(((image * side + y) * side + x) * channels + c)];
  }
};

// A depthwise convolution by definition, with [columns, 1, kernel, kernel] weights: column n reads channel
// n / (columns / channels). Returns [images, side, side, columns].
Doubles convolved(const Image& in, const std::vector<float>& weights, std::int64_t kernel, std::int64_t stride) {
  const std::int64_t side = depthwise_side(in.side, stride);
  const auto columns = static_cast<std::int64_t>(weights.size()) / (kernel * kernel), filters = columns / in.channels;
  Doubles out;
  for (std::int64_t p = 0; p < in.images * side * side; ++p) {
    const std::int64_t image = p / (side * side), y = p / side % side, x = p % side;
    for (std::int64_t n = 0; n < columns; ++n) {
      double sum = 0;
      for (std::int64_t t = 0; t < kernel * kernel; ++t) {
        const std::int64_t from_y = y * stride + t / kernel - kernel / 2, from_x = x * stride + t % kernel - kernel / 2;
        sum += in.pixel(image, from_y, from_x, n / filters) * weights[at(n * kernel * kernel + t)];
      }
      out.push_back(sum);
    }
  }
  return out;
}

// out[n] = bias[n] + sum of x[c] weights[n, c]
Doubles linear(const Doubles& x, const std::vector<float>& weights, const std::vector<float>& bias) {
  Doubles out(bias.begin(), bias.end());
  for (std::size_t n = 0; n < bias.size(); ++n) {
    for (std::size_t c = 0; c < x.size(); ++c) out[n] += x[c] * weights[n * x.size() + c];
  }
  return out;
}

void normalize(Doubles& row, const std::vector<float>& gamma, const std::vector<float>& beta, double eps) {
  double mean = 0, variance = 0;
  for (const double v : row) mean += v / static_cast<double>(row.size());
  for (const double v : row) variance += (v - mean) * (v - mean) / static_cast<double>(row.size());
  for (std::size_t i = 0; i < row.size(); ++i)
    row[i] = (row[i] - mean) / std::sqrt(variance + eps) * gamma[i] + beta[i];
}

double largest_difference(const std::vector<float>& got, const Doubles& expected) {
  double largest = got.size() == expected.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < got.size() && i < expected.size(); ++i) {
    largest = larger_error(largest, std::abs(got[i] - expected[i]));
  }
  return largest;
}

// A merged convolution of one branch.
MergedConvolution one_branch(const Parameters& p, std::int64_t columns, std::int64_t kernel) {
  MergedConvolution merged(columns, 1, kernel);
  merged.add(p.weights(), "conv", "");
  return merged;
}

}  // namespace

TEST_CASE("parallel branches with batch norms are one convolution") {
  constexpr std::int64_t kWidth = 18;
  Parameters p;
  const auto large = p.add("large.weight", {kWidth, 1, 7, 7});
  const auto small = p.add("small.weight", {kWidth, 1, 3, 3});
  for (const char* norm : {"large.bn", "small.bn", "same", "minus"}) p.add_batch_norm(norm, kWidth);
  const auto gamma = p.add("gamma", {kWidth});
  MergedConvolution merged(kWidth, 1, 7);
  merged.add(p.weights(), "large", "large.bn");
  merged.add(p.weights(), "small", "small.bn");
  merged.add_norm(p.weights(), "same");
  merged.add_norm(p.weights(), "minus", -1);
  merged.scale(p.weights()("gamma"));
  merged.add_identity();

  Image in(2, 6, kWidth);
  const Doubles a = convolved(in, large, 7, 1), b = convolved(in, small, 3, 1);
  Doubles expected;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto c = static_cast<std::int64_t>(i % kWidth);
    const double x = in.data[i];
    const double sum = p.normed("large.bn", c, a[i]) + p.normed("small.bn", c, b[i]) + p.normed("same", c, x) -
                       p.normed("minus", c, x);
    expected.push_back(x + gamma[at(c)] * sum);
  }
  Machine machine(2);
  std::vector<float> out(expected.size());
  DepthwiseConvolution(merged, kWidth, 1)
      .run(machine.context(), in.features(), Matrix::dense(out.data(), 2 * 6 * 6, kWidth));
  CHECK(largest_difference(out, expected) <= 2e-5);
}

TEST_CASE("a branch of another shape is refused") {
  Parameters p;
  p.add("conv.weight", {4, 1, 5, 5});
  MergedConvolution merged(4, 1, 3);
  CHECK(outcome_of([&] { merged.add(p.weights(), "conv", ""); }) == TORCHCLIP_E_MODEL_CORRUPT);
}

TEST_CASE("several filters of a channel lie as order() says") {
  Parameters p;
  const auto weights = p.add("conv.weight", {51, 1, 7, 7});
  const auto bias = p.add("conv.bias", {51});
  Image in(2, 9, 17);
  const Doubles sums = convolved(in, weights, 7, 2);
  const DepthwiseConvolution conv(one_branch(p, 51, 7), 17, 2);
  const auto order = conv.order();
  Doubles expected;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const auto column = order[i % 51];
    expected.push_back(sums[i / 51 * 51 + at(column)] + bias[at(column)]);
  }
  for (const int threads : kThreadCounts) {
    Machine machine(threads);
    std::vector<float> out(expected.size());
    conv.run(machine.context(), in.features(), Matrix::dense(out.data(), 2 * 5 * 5, 51));
    CHECK(largest_difference(out, expected) <= 2e-5);
  }
}

TEST_CASE("squeeze-and-excitation scales the channels before GELU, and without it there is GELU alone") {
  constexpr std::int64_t kChannels = 10, kColumns = 20, kInner = 6, kSide = 5, kImages = 3;
  Parameters p;
  const auto weights = p.add("conv.weight", {kColumns, 1, 3, 3});
  const auto bias = p.add("conv.bias", {kColumns});
  const auto w1 = p.add("se.fc1.weight", {kInner, kColumns, 1, 1}), b1 = p.add("se.fc1.bias", {kInner});
  const auto w2 = p.add("se.fc2.weight", {kColumns, kInner, 1, 1}), b2 = p.add("se.fc2.bias", {kColumns});
  Image in(kImages, kSide, kChannels);
  Doubles sums = convolved(in, weights, 3, 1);
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += bias[i % kColumns];
  const DepthwiseConvolution conv(one_branch(p, kColumns, 3), kChannels, 1);
  const auto order = conv.order();
  Machine machine(2);
  const std::size_t of_image = at(kSide * kSide * kColumns);
  for (const bool squeezes : {false, true}) {
    CAPTURE(squeezes);
    Doubles expected;
    for (std::size_t image = 0; image < at(kImages); ++image) {
      Doubles means(at(kColumns)), gates(at(kColumns), 1.0);
      for (std::size_t i = 0; i < of_image; ++i) {
        means[i % kColumns] += sums[image * of_image + i] / static_cast<double>(kSide * kSide);
      }
      if (squeezes) {
        Doubles inner = linear(means, w1, b1);
        for (auto& v : inner) v = std::max(v, 0.0);
        gates = linear(inner, w2, b2);
        for (auto& v : gates) v = 1 / (1 + std::exp(-v));
      }
      for (std::size_t i = 0; i < of_image; ++i) {
        const auto column = at(order[i % kColumns]);
        expected.push_back(exact_gelu(sums[image * of_image + i / kColumns * kColumns + column] * gates[column]));
      }
    }
    const ConvGelu layer(conv, squeezes ? SqueezeExcite(machine.context(), p.weights(), "se", order) : SqueezeExcite());
    Arena arena;
    std::vector<float> out(expected.size());
    layer.run(machine.context(), arena, in.features(), Matrix::dense(out.data(), kImages * kSide * kSide, kColumns));
    CHECK(largest_difference(out, expected) <= 1e-5);
  }
}

namespace {

struct BlockSize {
  std::int64_t images, side, width, hidden;
  bool normed;
};

// The largest error of a whole block, as a share of its largest result.
double block_error(const BlockSize& size, Precision precision, int threads) {
  const auto [images, side, width, hidden, normed] = size;
  Parameters p;
  const auto weights = p.add("conv.weight", {width, 1, 7, 7});
  const auto bias = p.add("conv.bias", {width});
  const auto beta = p.add("norm.bias", {width}), gamma = p.add("norm.weight", {width}, 1);
  const auto w1 = p.add("mlp.fc1.weight", {hidden, width}), b1 = p.add("mlp.fc1.bias", {hidden});
  const auto w2 = p.add("mlp.fc2.weight", {width, hidden}), b2 = p.add("mlp.fc2.bias", {width});
  const auto factors = p.add("gamma", {width});
  Image in(images, side, width);
  const Doubles sums = convolved(in, weights, 7, 1);
  Doubles expected;
  for (std::int64_t pixel = 0; pixel < images * side * side; ++pixel) {
    Doubles row(sums.begin() + pixel * width, sums.begin() + (pixel + 1) * width);
    for (std::int64_t c = 0; c < width; ++c) row[at(c)] += bias[at(c)];
    if (normed) normalize(row, gamma, beta, 1e-6);
    Doubles middle = linear(row, w1, b1);
    for (auto& v : middle) v = exact_gelu(v);
    const Doubles branch = linear(middle, w2, b2);
    for (std::int64_t c = 0; c < width; ++c) {
      expected.push_back(in.data[at(pixel * width + c)] + factors[at(c)] * branch[at(c)]);
    }
  }
  Machine machine(threads);
  const ConvFeedForward block(
      machine.context(), precision, p.weights(), DepthwiseConvolution(one_branch(p, width, 7), width, 1),
      normed ? LayerNorm(p.weights(), "norm", 1e-6f) : LayerNorm(), "mlp", p.weights()("gamma"));
  Arena arena;
  std::vector<float> out(expected.size());
  block.run(machine.context(), arena, in.features(), Matrix::dense(out.data(), images * side * side, width));
  double magnitude = 0;
  for (const double v : expected) magnitude = std::max(magnitude, std::abs(v));
  return largest_difference(out, expected) / magnitude;
}

}  // namespace

// Weights that stay in the cache and such that do not; widths that fill no register.
TEST_CASE("blocks of a convolution and an MLP agree with double: float32 to 1e-5, bf16 to 1e-2, int8 to 4e-2") {
  for (const auto& size :
       {BlockSize{2, 9, 32, 96, true}, BlockSize{1, 16, 22, 50, false}, BlockSize{3, 4, 300, 900, true},
        BlockSize{2, 3, 640, 2100, true}, BlockSize{2, 3, 304, 912, false}}) {
    for (const int threads : kThreadCounts) {
      CAPTURE(kernels_name());
      CAPTURE(threads);
      CAPTURE(size.width);
      CHECK(block_error(size, Precision::fp32, threads) <= 1e-5);
      CHECK(block_error(size, Precision::bf16, threads) <= 1e-2);
      CHECK(block_error(size, Precision::int8, threads) <= 4e-2);
    }
  }
}

TEST_CASE("the neighbourhoods of pixels have zeros outside the image") {
  constexpr std::int64_t kImages = 2, kSize = 9;
  const double mean[] = {0.5, 0.4, 0.3}, deviation[] = {0.2, 0.3, 0.4};
  const PixelTable table(mean, deviation);
  std::vector<std::uint8_t> pixels;
  std::uint32_t state = 3;
  for (std::int64_t i = 0; i < kImages * kSize * kSize * 3; ++i) {
    pixels.push_back(static_cast<std::uint8_t>(next_random(state) >> 24));
  }
  Machine machine(2);
  for (const Window& window : {Window{4, 4, 0}, Window{3, 2, 1}}) {
    CAPTURE(window.kernel);
    const std::int64_t side = window.side(kSize), rows = kImages * side * side;
    std::vector<float> out(at(rows * window.inner()), -1.0f), expected;
    pixel_taps(machine.context(), table, pixels.data(), kSize, window, Matrix::dense(out.data(), rows, window.inner()));
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t image = r / (side * side), y = r / side % side, x = r % side;
      for (std::int64_t t = 0; t < window.inner(); ++t) {
        const std::int64_t from_y = y * window.stride - window.padding + t / 3 / window.kernel;
        const std::int64_t from_x = x * window.stride - window.padding + t / 3 % window.kernel, c = t % 3;
        const bool outside = from_y < 0 || from_y >= kSize || from_x < 0 || from_x >= kSize;
        expected.push_back(outside ? 0.0f
                                   : table.value[c][pixels[at(((image * kSize + from_y) * kSize + from_x) * 3 + c)]]);
      }
    }
    CHECK(first_difference(out, expected) == "");
  }
}
