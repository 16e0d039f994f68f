// The search on the tests' device, in parts: the similarity of all rows, and the k best.
#include "search.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include "check.h"
#include "row_major.h"
#include "test_device.h"
#include "values.h"

namespace cuda = torchclip::cuda;
using torchclip::test::first_difference;
using torchclip::test::RowMajor;

namespace {

constexpr std::int64_t kDim = 12;  // not a multiple of 8
constexpr std::int64_t kRows = 700, kQueries = 5, kPart = 150;

struct Search {
  Search() {
    std::uint32_t seed = 9;
    for (auto* v : {&base, &queries}) {
      for (auto& x : *v) x = torchclip::test::next_value(seed);
    }
  }

  std::vector<float> similarity() {
    std::vector<float> scores(kQueries * kRows);
    cuda::similarity(*device, queries.data(), kQueries, base.data(), kRows, kDim, scores.data(), kPart);
    return scores;
  }

  std::unique_ptr<cuda::Device> device = cuda::test_device();
  std::vector<float> base = std::vector<float>(kRows * kDim), queries = std::vector<float>(kQueries * kDim);
};

}  // namespace

TEST_CASE("similarity agrees with sums in double") {
  Search search;
  const auto scores = search.similarity();
  const RowMajor queries(search.queries.data(), kDim), base(search.base.data(), kDim);
  const RowMajor results(scores.data(), kRows);
  double largest = 0;
  for (std::int64_t q = 0; q < kQueries; ++q) {
    for (std::int64_t r = 0; r < kRows; ++r) {
      double dot = 0;
      for (std::int64_t i = 0; i < kDim; ++i) dot += static_cast<double>(queries[q][i]) * base[r][i];
      largest = torchclip::test::larger_error(largest, std::abs(dot - results[q][r]));
    }
  }
  CHECK(largest < 1e-5);
}

TEST_CASE("the k best rows are those of a stable sort of the similarity") {
  constexpr std::int32_t kBest = 20;
  Search search;
  const auto scores = search.similarity();
  std::vector<std::int32_t> indices(kQueries * kBest);
  std::vector<float> best(indices.size());
  cuda::top_k(*search.device, search.queries.data(), kQueries, search.base.data(), kRows, kDim, kBest, indices.data(),
              best.data(), kPart);
  for (std::int64_t q = 0; q < kQueries; ++q) {
    CAPTURE(q);
    std::vector<std::int32_t> order(kRows);
    std::iota(order.begin(), order.end(), 0);
    const float* row = RowMajor(scores.data(), kRows)[q];
    std::stable_sort(order.begin(), order.end(), [row](auto a, auto b) { return row[a] > row[b]; });
    order.resize(kBest);
    const auto first = indices.begin() + q * kBest;
    CHECK(first_difference(std::vector(first, first + kBest), order) == "");
    CHECK(*RowMajor(best.data(), kBest)[q] == row[order[0]]);
  }
}

TEST_CASE("scores that are no numbers are no hits") {
  constexpr std::int32_t kBest = 4;
  const std::vector<float> base{1, NAN, 3, NAN, 2}, query{1};
  std::vector<std::int32_t> indices(kBest);
  std::vector<float> scores(kBest);
  const auto device = cuda::test_device();
  cuda::top_k(*device, query.data(), 1, base.data(), 5, 1, kBest, indices.data(), scores.data());
  CHECK(first_difference(indices, std::vector<std::int32_t>{2, 4, 0, -1}) == "");
  CHECK(std::isnan(scores[3]));
}
