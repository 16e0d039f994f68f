// Matrix multiplications of every precision against sums in double, at sizes that fill no tile.
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "base/item.h"
#include "check.h"
#include "linalg/matrix.h"
#include "linalg/packed.h"
#include "machine.h"
#include "row_major.h"
#include "values.h"

using namespace torchclip::core;
using namespace torchclip::test;

namespace {

struct Size {
  std::int64_t rows, columns, inner;
};

// The largest distance of the results from sums in double. The sums have the rounding of 16-bit weights where the
// machine multiplies them as float32, because nothing else is rounded then.
double largest_error(const Context& context, Precision precision, const Size& size) {
  const auto [rows, columns, inner] = size;
  const DType type = input_type(context, precision);
  const auto a = values(static_cast<std::size_t>(rows * inner), 1);
  const auto w = values(static_cast<std::size_t>(columns * inner), 2);
  const auto bias = values(static_cast<std::size_t>(columns), 3);
  const auto residual = values(static_cast<std::size_t>(rows * columns), 4);
  const Linear linear(context, precision, w.data(), bias.data(), columns, inner);
  const ConvertedRows input(context.kernels, a, inner, type, row_bytes(type, inner));
  std::vector<float> out(residual.size());
  linear.multiply(context, input.matrix(), Matrix::dense(out.data(), rows, columns),
                  {.residual = ConstMatrix::dense(residual.data(), rows, columns)});
  const RowMajor left(a.data(), inner), weights(w.data(), inner);
  const RowMajor added(residual.data(), columns);
  const RowMajor results(out.data(), columns);
  double largest = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      double sum = item(bias, c) + added[r][c];
      for (std::int64_t k = 0; k < inner; ++k) {
        const float weight = weights[c][k];
        sum += left[r][k] * (type == DType::f32 ? stored(precision, weight) : weight);
      }
      largest = larger_error(largest, std::abs(sum - results[r][c]));
    }
  }
  return largest;
}

// `tolerance`: of an inner size of 1; errors grow with its square root.
void check_sizes(Precision precision, double tolerance) {
  for (const int threads : kThreadCounts) {
    Machine machine(threads);
    for (const std::int64_t rows : {1, 13, 29}) {
      for (const std::int64_t columns : {1, 31, 70}) {
        for (const std::int64_t inner : {3, 64, 2501}) {
          CAPTURE(kernels_name());
          CAPTURE(threads);
          CAPTURE(rows);
          CAPTURE(columns);
          CAPTURE(inner);
          const double error = largest_error(machine.context(), precision, {rows, columns, inner});
          CHECK(error <= tolerance * std::sqrt(static_cast<double>(inner)));
        }
      }
    }
  }
}

}  // namespace

TEST_CASE("fp32 rows of every size agree with sums in double") { check_sizes(Precision::fp32, 2e-6); }

TEST_CASE("bf16 rows of every size agree with sums in double") {
  const bool as_float32 = kernels()->gemm(Precision::bf16).format.input == DType::f32;
  check_sizes(Precision::bf16, as_float32 ? 2e-6 : 0.01);
}

TEST_CASE("fp16 rows of every size agree with sums in double") { check_sizes(Precision::fp16, 2e-6); }

TEST_CASE("int8 rows of every size agree with sums in double") {
  check_sizes(Precision::int8, kernels()->weight_max == 127 ? 0.02 : 0.04);
}

TEST_CASE("a row has the same bits with any other rows and any number of threads") {
  // So many rows that 16-bit weights are widened once for all of them, and one row, for which they are not.
  constexpr std::int64_t kRows = 250, kColumns = 130, kInner = 1100;
  const auto a = values(kRows * kInner, 21), w = values(kColumns * kInner, 22);
  for (const auto precision : {Precision::fp32, Precision::bf16, Precision::fp16, Precision::int8}) {
    std::vector<float> of_one_thread;
    for (const int threads : kThreadCounts) {
      CAPTURE(std::string(name_of(precision)));
      CAPTURE(threads);
      Machine machine(threads);
      const Context context = machine.context();
      const Linear linear(context, precision, w.data(), nullptr, kColumns, kInner);
      const ConvertedRows input(context.kernels, a, kInner, linear.type(), row_stride(linear.type(), kInner));
      std::vector<float> all(kRows * kColumns), one(kColumns);
      linear.multiply(context, input.matrix(), Matrix::dense(all.data(), kRows, kColumns));
      for (const std::int64_t row : {0, 13, 66, 249}) {
        CAPTURE(row);
        linear.multiply(context, input.matrix().row_slice(row, 1), Matrix::dense(one.data(), 1, kColumns));
        CHECK(first_difference(one, std::span(RowMajor(all.data(), kColumns)[row], kColumns)) == "");
      }
      if (of_one_thread.empty()) of_one_thread = all;
      CHECK(first_difference(all, of_one_thread) == "");
    }
  }
}
