// The kernels of the search: scores of few queries, and the scores that reach a limit.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/item.h"
#include "check.h"
#include "machine.h"
#include "row_major.h"
#include "search/int8_queries.h"
#include "values.h"

using namespace torchclip::core;
using namespace torchclip::test;

TEST_CASE("int8 scores of few queries have the bits of a multiplication, with zeros beside them") {
  constexpr std::int64_t kRows = 37;
  for (const int threads : kThreadCounts) {
    Machine machine(threads);
    const Context context = machine.context();
    for (const std::int64_t dim : {1, 30, 64, 129, 512}) {
      const ConvertedRows rows(context.kernels, values(static_cast<std::size_t>(kRows * dim), 11), dim, DType::s8,
                               row_bytes(DType::s8, dim));
      std::vector<float> expected(kRows * kPanel), out(kRows * kPanel, 9.0f);
      for (const std::int64_t count : {1, 3, 8}) {
        CAPTURE(kernels_name());
        CAPTURE(threads);
        CAPTURE(dim);
        CAPTURE(count);
        const auto queries = values(static_cast<std::size_t>(count * dim), 12);
        const Linear packed(context, Precision::int8, queries.data(), nullptr, count, dim);
        packed.multiply_panel(rows.matrix(), Matrix::dense(expected.data(), kRows, kPanel), 0);
        Int8Queries(context, queries.data(), count, dim)
            .scores(context.kernels, rows.bytes.data(), rows.stride, rows.scales.data(), rows.sums.data(), kRows, 0,
                    out.data());
        CHECK(first_difference(out, expected) == "");
      }
    }
  }
}

TEST_CASE("fp32 scores of few queries agree with sums in double") {
  constexpr std::int64_t kRows = 37;
  for (const std::int64_t dim : {1, 30, 64, 129, 512}) {
    const auto base = values(static_cast<std::size_t>(kRows * dim), 13);
    for (const std::int64_t count : {1, 3, 8}) {
      CAPTURE(kernels_name());
      CAPTURE(dim);
      CAPTURE(count);
      const auto queries = values(static_cast<std::size_t>(count * dim), 14);
      std::vector<float> out(static_cast<std::size_t>(count * kRows));
      kernels()->dots(base.data(), kRows, dim, queries.data(), count, out.data(), kRows);
      const RowMajor rows(base.data(), dim), asked(queries.data(), dim);
      const RowMajor results(out.data(), kRows);
      double largest = 0;
      for (std::int64_t q = 0; q < count; ++q) {
        for (std::int64_t r = 0; r < kRows; ++r) {
          double sum = 0;
          for (std::int64_t i = 0; i < dim; ++i) sum += static_cast<double>(rows[r][i]) * asked[q][i];
          largest = larger_error(largest, std::abs(sum - results[q][r]));
        }
      }
      CHECK(largest <= 2e-6 * std::sqrt(static_cast<double>(dim)));
    }
  }
}

TEST_CASE("every score that reaches the limit of its column is passed on, and no other") {
  constexpr std::int64_t kRows = 45;
  struct Score {
    std::int64_t row;
    int column;
    float value;
    bool operator==(const Score&) const = default;
    bool operator<(const Score& other) const { return row < other.row || (row == other.row && column < other.column); }
  };
  auto scores = values(kRows * kPanel, 15);
  const auto limits = values(kPanel, 16);
  const RowMajor rows(scores.data(), kPanel);
  std::copy(limits.begin(), limits.end(), rows[3]);  // equal
  std::vector<Score> expected, found;
  for (std::int64_t row = 0; row < kRows; ++row) {
    for (int column = 0; column < kPanel; ++column) {
      const float score = rows[row][column];
      if (score >= item(limits, column)) expected.push_back({row, column, score});
    }
  }
  kernels()->scan(scores.data(), kRows, limits.data(), &found, [](void* state, std::int64_t row, int column, float x) {
    static_cast<std::vector<Score>*>(state)->push_back({row, column, x});
  });
  CAPTURE(kernels_name());
  std::sort(found.begin(), found.end());
  CHECK(found.size() == expected.size());
  CHECK(std::equal(found.begin(), found.end(), expected.begin(), expected.end()));
}
