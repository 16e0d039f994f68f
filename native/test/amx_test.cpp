// The products on AMX's tiles, their instructions played by plain loops, against sums in double: whole and partly
// filled tiles of rows, columns and steps. On a machine with AMX, kernels_test runs them as they are.
#include "amx.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "kernels/amx.h"

using namespace torchclip::core;
using torchclip::test::values;

namespace {

template <typename Tiles>
void products(Precision precision, DType type, double tolerance) {
  const Format format{precision, type, kPanel};
  for (const std::int64_t rows : {1, 16, 17, 32, 50}) {
    for (const std::int64_t columns : {1, 31, 70}) {
      for (const std::int64_t inner : {3, 64, 500, 1024}) {
        const auto a = values(rows * inner, 1), w = values(columns * inner, 2),
                   bias = values(round_up(columns, kPanel), 3);
        const std::int64_t steps = format.steps(inner), panels = round_up(columns, kPanel) / kPanel;
        std::vector<char> packed(panels * steps * kPanel * 4 + 256, '\xff');  // no numbers behind the weights
        std::vector<float> column_scales(panels * kPanel), scales(rows), out(rows * columns);
        for (std::int64_t p = 0; p < panels; ++p) {
          pack_panel(w.data() + p * kPanel * inner, inner, std::min(kPanel, columns - p * kPanel), inner, format, 127,
                     p, packed.data(), type == DType::s8 ? column_scales.data() + p * kPanel : nullptr);
        }
        const std::int64_t stride = steps * 4;
        std::vector<char> input(rows * stride);
        std::vector<std::int32_t> sums(rows);
        kernels()->layer_norm(a.data(), inner, rows, inner, nullptr, nullptr, 0, type, input.data(), stride,
                              scales.data(), sums.data());
        GemmArgs p;
        p.a = input.data();
        p.lda = stride;
        p.weights = packed.data();
        p.steps = p.panel_steps = steps;
        p.columns = columns;
        p.bias = bias.data();
        p.column_scale = column_scales.data();
        p.row_scale = scales.data();
        p.row_sum = sums.data();
        p.out = out.data();
        p.ldo = columns;
        gemm_by_tiles<Tiles>(p, 0, rows, 0, panels);
        double most = 0;
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t c = 0; c < columns; ++c) {
            double sum = bias[c];
            for (std::int64_t k = 0; k < inner; ++k) sum += static_cast<double>(a[r * inner + k]) * w[c * inner + k];
            const double off = std::abs(sum - out[r * columns + c]);
            most = off <= most ? most : off;  // also where it is no number
          }
        }
        CHECK(most <= tolerance * std::sqrt(static_cast<double>(inner)));
      }
    }
  }
}

}  // namespace

int main() {
  products<Bf16Tiles>(Precision::bf16, DType::bf16, 0.01);
  products<Int8Tiles>(Precision::int8, DType::s8, 0.02);
  CHECK(amx::misuse == 0);
  CHECK(!amx::configured);
  return torchclip::test::failures();
}
