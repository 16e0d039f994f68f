// The int8 kernels of ARM64 that this CPU can run: every one gives the bits that follow from the exact integer sums,
// for all numbers of rows and steps, and for the largest products that there are.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "base/platform_cpu.h"
#include "kernels/tables.h"
#include "values.h"

using namespace torchclip::core;
using torchclip::test::values;

namespace {

constexpr std::int32_t kWeightMax = 127;
constexpr std::int64_t kColumns = 45;  // a whole panel and a part of one

// Rows and weights of int8.
struct Operands {
  std::int64_t rows, inner, stride;
  std::vector<std::int8_t> a;         // [rows, stride]
  std::vector<float> row_scale;       // [rows]
  std::vector<std::int32_t> row_sum;  // [rows]
  std::vector<float> weights;         // [kColumns, inner]: whole numbers, so that they are stored as they are

  // `largest`: all products are +-127 * 127, and their signs are equal in a row.
  Operands(std::int64_t row_count, std::int64_t inner_size, bool largest)
      : rows(row_count), inner(inner_size), stride(round_up(inner_size, 4)) {
    const auto random = values(static_cast<std::size_t>(rows * inner), 41);
    weights = values(static_cast<std::size_t>(kColumns * inner), 42);
    for (auto& w : weights) w = largest ? (w < 0 ? -127.0f : 127.0f) : static_cast<float>(static_cast<int>(w * 127));
    for (std::int64_t c = 0; c < kColumns; ++c) weights[static_cast<std::size_t>(c * inner)] = 127;  // a scale of 1
    for (std::int64_t r = 0; r < rows; ++r) {
      std::int32_t sum = 0;
      for (std::int64_t k = 0; k < stride; ++k) {
        const float x = k < inner ? random[static_cast<std::size_t>(r * inner + k)] : 0.0f;
        const float w = k < inner ? weights[static_cast<std::size_t>(r % kColumns * inner + k)] : 0.0f;
        a.push_back(static_cast<std::int8_t>(largest ? w : x * 127));
        sum += a.back();
      }
      row_sum.push_back(sum);
      row_scale.push_back(0.01f * static_cast<float>(r + 1));
    }
  }
};

std::vector<float> expected(const Operands& o) {
  std::vector<float> out;
  for (std::int64_t r = 0; r < o.rows; ++r) {
    for (std::int64_t c = 0; c < kColumns; ++c) {
      std::int32_t sum = 0;
      for (std::int64_t k = 0; k < o.inner; ++k) {
        sum += o.a[static_cast<std::size_t>(r * o.stride + k)] *
               static_cast<std::int32_t>(o.weights[static_cast<std::size_t>(c * o.inner + k)]);
      }
      out.push_back(static_cast<float>(sum) * o.row_scale[static_cast<std::size_t>(r)]);
    }
  }
  return out;
}

std::vector<float> multiplied(const GemmKernel& kernel, const Operands& o) {
  const std::int64_t panels = round_up(kColumns, kPanel) / kPanel, steps = kernel.format.steps(o.inner);
  std::vector<char> packed(static_cast<std::size_t>(panels * kPanel * steps * kernel.format.bytes()));
  std::vector<float> scales(static_cast<std::size_t>(panels * kPanel));
  for (std::int64_t panel = 0; panel < panels; ++panel) {
    const std::int64_t first = panel * kPanel, count = kColumns - first < kPanel ? kColumns - first : kPanel;
    pack_panel(o.weights.data() + first * o.inner, o.inner, count, o.inner, kernel.format, kWeightMax, panel,
               packed.data(), scales.data() + first);
  }
  std::vector<float> out(static_cast<std::size_t>(o.rows * kColumns), -1.0f);
  GemmArgs p;
  p.a = o.a.data();
  p.lda = o.stride;
  p.weights = packed.data();
  p.steps = p.panel_steps = steps;
  p.columns = kColumns;
  p.column_scale = scales.data();
  p.row_scale = o.row_scale.data();
  p.row_sum = o.row_sum.data();
  p.out = out.data();
  p.ldo = kColumns;
  kernel.gemm(p, 0, o.rows, 0, panels);
  return out;
}

// Returns whether all results are right.
bool check_products(const char* name, const GemmKernel& kernel) {
  bool right = true;
  for (const std::int64_t rows : {1, 2, 3, 5, 7, 8, 9, 21}) {
    for (const std::int64_t inner : {1, 3, 4, 8, 9, 12, 77, 1030}) {
      for (const bool largest : {false, true}) {
        const Operands operands(rows, inner, largest);
        if (multiplied(kernel, operands) == expected(operands)) continue;
        std::fprintf(stderr, "%s: %d rows of %d elements\n", name, static_cast<int>(rows), static_cast<int>(inner));
        right = false;
      }
    }
  }
  std::printf("%s: the sums are %s\n", name, right ? "exact" : "wrong");
  return right;
}

}  // namespace

int main() {
  const Arm64Features has = arm64_features();
  constexpr int kInt8 = static_cast<int>(Precision::int8);
  bool right = check_products("plain", plain_kernels.gemms[kInt8]);
  right = check_products("neon", neon_kernels.gemms[kInt8]) && right;
  if (has.dot_product) right = check_products("neon_dot", neon_dot_int8.gemm) && right;
  if (has.i8mm) right = check_products("neon_i8mm", neon_i8mm_int8.gemm) && right;
  return right ? 0 : 1;
}
