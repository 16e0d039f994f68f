// The products on AMX's tiles, their instructions played by plain loops, against sums in double: whole and partly
// filled tiles of rows, columns and steps. On a machine with AMX, gemm_test runs them as they are.
#include "amx.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/item.h"
#include "check.h"
#include "kernels/amx.h"
#include "machine.h"
#include "row_major.h"
#include "values.h"

using namespace torchclip::core;
using namespace torchclip::test;

namespace {

constexpr std::int32_t kWeightMax = 127;

struct Size {
  std::int64_t rows, columns, inner;
};

struct PackedWeights {
  PackedWeights(const Format& format, const std::vector<float>& w, const Size& size)
      : steps(format.steps(size.inner)),
        panels(round_up(size.columns, kPanel) / kPanel),
        bytes(static_cast<std::size_t>(panels * steps * kPanel * 4 + 256), '\xff'),  // no numbers behind the weights
        scales(static_cast<std::size_t>(panels * kPanel)) {
    for (std::int64_t panel = 0; panel < panels; ++panel) {
      pack_panel(w.data() + panel * kPanel * size.inner, size.inner, std::min(kPanel, size.columns - panel * kPanel),
                 size.inner, format, kWeightMax, panel, bytes.data(),
                 format.input == DType::s8 ? scales.data() + panel * kPanel : nullptr);
    }
  }

  std::int64_t steps, panels;
  std::vector<char> bytes;
  std::vector<float> scales;
};

template <typename Tiles>
std::vector<float> multiplied(const ConvertedRows& a, const PackedWeights& weights, const std::vector<float>& bias,
                              std::int64_t columns) {
  std::vector<float> out(static_cast<std::size_t>(a.rows * columns));
  GemmArgs p;
  p.a = a.bytes.data();
  p.lda = a.stride;
  p.weights = weights.bytes.data();
  p.steps = p.panel_steps = weights.steps;
  p.columns = columns;
  p.bias = bias.data();
  p.column_scale = weights.scales.data();
  p.row_scale = a.scales.data();
  p.row_sum = a.sums.data();
  p.out = out.data();
  p.ldo = columns;
  gemm_by_tiles<Tiles>(p, 0, a.rows, 0, weights.panels);
  return out;
}

template <typename Tiles>
double largest_error(const Format& format, const Size& size) {
  const auto [rows, columns, inner] = size;
  const auto a = values(static_cast<std::size_t>(rows * inner), 1);
  const auto w = values(static_cast<std::size_t>(columns * inner), 2);
  const auto bias = values(static_cast<std::size_t>(round_up(columns, kPanel)), 3);
  const PackedWeights packed(format, w, size);
  const ConvertedRows input(*kernels(), a, inner, format.input, packed.steps * 4);
  const auto out = multiplied<Tiles>(input, packed, bias, columns);
  const RowMajor left(a.data(), inner), weights(w.data(), inner), results(out.data(), columns);
  double largest = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      double sum = item(bias, c);
      for (std::int64_t k = 0; k < inner; ++k) sum += static_cast<double>(left[r][k]) * weights[c][k];
      largest = larger_error(largest, std::abs(sum - results[r][c]));
    }
  }
  return largest;
}

template <typename Tiles>
void check_sizes(Precision precision, DType type, double tolerance) {
  for (const std::int64_t rows : {1, 16, 17, 32, 50}) {
    for (const std::int64_t columns : {1, 31, 70}) {
      for (const std::int64_t inner : {3, 64, 500, 1024}) {
        CAPTURE(rows);
        CAPTURE(columns);
        CAPTURE(inner);
        const double error = largest_error<Tiles>({precision, type, kPanel}, {rows, columns, inner});
        CHECK(error <= tolerance * std::sqrt(static_cast<double>(inner)));
      }
    }
  }
  CHECK(amx::misuse == 0);
  CHECK(!amx::configured);
}

}  // namespace

TEST_CASE("bf16 tiles of every size agree with sums in double") {
  check_sizes<Bf16Tiles>(Precision::bf16, DType::bf16, 0.01);
}

TEST_CASE("int8 tiles of every size agree with sums in double") {
  check_sizes<Int8Tiles>(Precision::int8, DType::s8, 0.02);
}
