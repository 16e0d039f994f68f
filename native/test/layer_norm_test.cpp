// Layer norm of every element type against double.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"
#include "machine.h"
#include "values.h"

using namespace torchclip::core;
using namespace torchclip::test;

namespace {

constexpr std::int64_t kRows = 5;
constexpr float kEps = 1e-5f;

std::vector<double> normalized(const std::vector<float>& x, std::int64_t width, const float* gamma, const float* beta) {
  std::vector<double> out;
  for (auto row = x.begin(); row != x.end(); row += width) {
    double mean = 0, squares = 0;
    for (std::int64_t i = 0; i < width; ++i) mean += row[i];
    mean /= static_cast<double>(width);
    for (std::int64_t i = 0; i < width; ++i) squares += (row[i] - mean) * (row[i] - mean);
    const double scale = 1 / std::sqrt(squares / static_cast<double>(width) + static_cast<double>(kEps));
    for (std::int64_t i = 0; i < width; ++i) out.push_back((row[i] - mean) * scale * gamma[i] + beta[i]);
  }
  return out;
}

// The rows as layer_norm wrote them, as numbers.
std::vector<float> numbers_of(const std::vector<char>& bytes, std::int64_t stride, std::int64_t width, DType type,
                              const std::vector<float>& scales) {
  std::vector<float> out;
  for (std::int64_t row = 0; row < kRows; ++row) {
    for (std::int64_t i = 0; i < width; ++i) {
      const char* from = bytes.data() + row * stride + i * size_of(type);
      std::uint16_t half = 0;
      float number = 0;
      switch (type) {
        case DType::f32:
          std::memcpy(&number, from, sizeof number);
          break;
        case DType::bf16:
          std::memcpy(&half, from, sizeof half);
          kernels()->widen_bf16(&half, 1, &number);
          break;
        default:
          number = static_cast<float>(static_cast<signed char>(*from)) * scales[static_cast<std::size_t>(row)];
      }
      out.push_back(number);
    }
  }
  return out;
}

// The largest difference of normalised rows from double, as a share of the largest number.
double largest_error(DType type, std::int64_t width) {
  const auto x = values(static_cast<std::size_t>(kRows * width), 41);
  const auto gamma = values(static_cast<std::size_t>(width), 42), beta = values(static_cast<std::size_t>(width), 43);
  const std::int64_t stride = row_bytes(type, width);
  std::vector<char> bytes(static_cast<std::size_t>(kRows * stride));
  std::vector<float> scales(kRows);
  std::vector<std::int32_t> sums(kRows);
  kernels()->layer_norm(x.data(), width, kRows, width, gamma.data(), beta.data(), kEps, type, bytes.data(), stride,
                        scales.data(), sums.data());
  const auto expected = normalized(x, width, gamma.data(), beta.data());
  const auto got = numbers_of(bytes, stride, width, type, scales);
  double largest = 0, magnitude = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    largest = larger_error(largest, std::abs(got[i] - expected[i]));
    magnitude = std::max(magnitude, std::abs(expected[i]));
  }
  return largest / magnitude;
}

void check_widths(DType type, double tolerance) {
  for (const std::int64_t width : {2, 31, 64, 257, 768}) {
    CAPTURE(kernels_name());
    CAPTURE(width);
    CHECK(largest_error(type, width) <= tolerance);
  }
}

}  // namespace

TEST_CASE("rows of every width are normalised as in double") { check_widths(DType::f32, 2e-6); }

TEST_CASE("bf16 results differ by half a step at most") { check_widths(DType::bf16, 1.0 / 256); }

TEST_CASE("int8 results differ by half a step of the row's scale at most") {
  check_widths(DType::s8, 0.5 / 127 + 1e-5);
}

TEST_CASE("int8 rows come with their sums, and with zeros behind them") {
  constexpr std::int64_t kWidth = 30;
  const ConvertedRows rows(*kernels(), values(kRows * kWidth, 44), kWidth, DType::s8, row_bytes(DType::s8, kWidth));
  for (std::int64_t row = 0; row < kRows; ++row) {
    CAPTURE(row);
    const char* from = rows.bytes.data() + row * rows.stride;
    std::int32_t sum = 0;
    for (std::int64_t i = 0; i < kWidth; ++i) sum += static_cast<signed char>(from[i]);
    CHECK(rows.sums[static_cast<std::size_t>(row)] == sum);
    CHECK(std::count(from + kWidth, from + rows.stride, '\0') == rows.stride - kWidth);
  }
}
