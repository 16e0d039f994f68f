#include "image/resize_kernel.h"

#include <algorithm>
#include <cmath>

namespace torchclip::core {
namespace {

constexpr int kPrecisionBits = kResizeBits;
constexpr double kPi = 3.14159265358979323846;

double bilinear(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double hamming(double x) {
  x = std::abs(x);
  if (x == 0.0) return 1.0;
  if (x >= 1.0) return 0.0;
  x *= kPi;
  return std::sin(x) / x * (0.54f + 0.46f * std::cos(x));  // Pillow's constants are floats
}

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= kPi;
  return std::sin(x) / x;
}

double lanczos(double x) { return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

// A filter's weight at a distance, and how far it reaches, in pixels of the smaller image.
struct FilterShape {
  double (*weight)(double);
  double support;
};

FilterShape shape_of(Filter filter) {
  switch (filter) {
    case Filter::kBilinear:
      return {bilinear, 1.0};
    case Filter::kBox:
      return {box, 0.5};
    case Filter::kHamming:
      return {hamming, 1.0};
    case Filter::kLanczos:
      return {lanczos, 3.0};
    default:
      return {bicubic, 2.0};
  }
}

// C's conversion, with which Pillow rounds positions.
std::int32_t truncated(double x) { return static_cast<std::int32_t>(x); }

}  // namespace

// precompute_coeffs and normalize_coeffs_8bpc of Resample.c, for the outputs [begin, begin + length) alone.
ResizeKernel make_kernel(std::int32_t in, std::int64_t out, std::int64_t begin, std::int32_t length, Filter filter) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double filter_scale = std::max(scale, 1.0);
  const auto [weight, reach] = shape_of(filter);
  const double support = reach * filter_scale;
  const double inverse = 1.0 / filter_scale;
  ResizeKernel k(length, static_cast<std::int32_t>(std::ceil(support)) * 2 + 1);
  std::vector<double> weights(static_cast<std::size_t>(k.size));
  double* w = weights.data();
  for (std::int32_t i = 0; i < length; ++i) {
    const double center = (static_cast<double>(begin + i) + 0.5) * scale;
    const std::int32_t first = std::max(truncated(center - support + 0.5), 0);
    const std::int32_t last = std::min(truncated(center + support + 0.5), in);
    const std::int32_t count = last - first;
    double sum = 0.0;
    for (std::int32_t x = 0; x < count; ++x) {
      const double at = (x + first - center + 0.5) * inverse;
      w[x] = weight(at);
      sum += w[x];
    }
    std::int32_t* fixed = k.weights.data() + std::ptrdiff_t{i} * k.size;
    for (std::int32_t x = 0; x < count; ++x) {
      const double v = (sum != 0.0 ? w[x] / sum : w[x]) * (1 << kPrecisionBits);
      fixed[x] = static_cast<std::int32_t>(v < 0 ? v - 0.5 : v + 0.5);
    }
    k.taps[static_cast<std::size_t>(i)] = {first, count};
  }
  return k;
}

ResizeKernel copying_kernel(std::int64_t begin, std::int32_t length) {
  ResizeKernel k(length, 1);
  k.weights.assign(k.weights.size(), 1 << kPrecisionBits);
  auto position = static_cast<std::int32_t>(begin);
  for (auto& taps : k.taps) taps = {position++, 1};
  return k;
}

TouchedRange touched(const ResizeKernel& kernel) {
  TouchedRange range{kernel.taps.front().first, 0};
  for (const auto& taps : kernel.taps) {
    range.first = std::min(range.first, taps.first);
    range.last = std::max(range.last, taps.first + taps.count);
  }
  return range;
}

// Since Pillow 13 (Resample.c, ImagingResampleInner): where the height shrinks by more than twice what the width does,
// the vertical pass comes first. The order shows in the rounding between the passes.
bool vertical_first(std::int64_t width, std::int64_t height, std::int64_t new_width, std::int64_t new_height) {
  const std::int64_t less_height = height - new_height, less_width = width - new_width;
  return less_width != 0 && less_height > 0 && less_height > 2 * less_width;
}

}  // namespace torchclip::core
