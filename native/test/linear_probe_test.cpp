// The solver of linear probes: its products, its linear algebra, and its results against the gradient in double.
#include "learn/linear_probe.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "learn/probe_features.h"
#include "learn/spd.h"
#include "machine.h"
#include "row_major.h"
#include "values.h"

using namespace torchclip::core;
using namespace torchclip::test;

namespace {

struct Problem {
  std::vector<float> features;
  std::vector<std::int32_t> labels;
  LinearProbeProblem given;
};

// Classes around centres of their own that overlap. All features have an offset, as embeddings of CLIP do.
Problem problem_of(std::int64_t rows, std::int64_t dim, std::int32_t classes, double lambda) {
  Problem problem;
  std::uint32_t state = 7;
  const auto random = values(static_cast<std::size_t>(classes * dim), 11);
  const RowMajor centres(random.data(), dim);
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto label = static_cast<std::int32_t>(i % classes);
    problem.labels.push_back(label);
    for (std::int64_t k = 0; k < dim; ++k) {
      problem.features.push_back(0.4f + 0.3f * centres[label][k] + next_value(state));
    }
  }
  problem.given = {problem.features.data(), problem.labels.data(), rows, dim, classes, lambda};
  return problem;
}

struct Weights {
  std::vector<double> coefficients, intercepts;
};

Weights fitted(const Problem& problem, LinearProbeOptions options, LinearProbeResult* result = nullptr) {
  const auto& given = problem.given;
  Weights weights{std::vector<double>(static_cast<std::size_t>(given.heads() * given.dim)),
                  std::vector<double>(static_cast<std::size_t>(given.heads()))};
  const auto found = fit_linear_probe(given, options, weights.coefficients.data(), weights.intercepts.data());
  if (result) *result = found;
  return weights;
}

// max |gradient| of the objective divided by the number of rows, by its definition.
double largest_gradient(const Problem& problem, const Weights& weights) {
  const auto& given = problem.given;
  const std::int64_t heads = given.heads(), dim = given.dim;
  std::vector<double> partials(static_cast<std::size_t>(heads * (dim + 1)));
  const RowMajor gradient(partials.data(), dim + 1);  // of the coefficients, then of the intercept
  const RowMajor coefficients(weights.coefficients.data(), dim);
  for (std::int64_t k = 0; k < heads; ++k) {
    for (std::int64_t d = 0; d < dim; ++d) gradient[k][d] = given.lambda * coefficients[k][d];
  }
  for (std::int64_t i = 0; i < given.rows; ++i) {
    const float* x = given.features + i * dim;
    std::vector<double> logits = weights.intercepts;
    double* z = logits.data();
    for (std::int64_t k = 0; k < heads; ++k) {
      for (std::int64_t d = 0; d < dim; ++d) z[k] += coefficients[k][d] * x[d];
    }
    double sum = heads == 1 ? 1 : 0;
    for (const double logit : logits) sum += std::exp(logit);
    for (std::int64_t k = 0; k < heads; ++k) {
      const bool own = heads == 1 ? given.labels[i] == 1 : given.labels[i] == k;
      const double residual = std::exp(z[k]) / sum - (own ? 1 : 0);
      for (std::int64_t d = 0; d < dim; ++d) gradient[k][d] += residual * x[d];
      gradient[k][dim] += residual;
    }
  }
  double largest = 0;
  for (const double g : partials) largest = larger_error(largest, std::abs(g) / static_cast<double>(given.rows));
  return largest;
}

template <typename T>
double largest_product_error(void (*product)(const ProductArgs<T>&), std::int64_t rows, std::int64_t columns,
                             std::int64_t inner, bool transposed) {
  const auto a = values(static_cast<std::size_t>(rows * inner), 1);
  const auto b = values(static_cast<std::size_t>(inner * columns), 2);
  const std::vector<T> left(a.begin(), a.end()), right(b.begin(), b.end());
  std::vector<T> out(static_cast<std::size_t>(rows * columns), T{1});
  ProductArgs<T> args{left.data(),
                      transposed ? 1 : inner,
                      transposed ? rows : 1,
                      right.data(),
                      columns,
                      out.data(),
                      columns,
                      rows,
                      columns,
                      inner,
                      true};
  product(args);
  const RowMajor a_rows(left.data(), transposed ? rows : inner), b_rows(right.data(), columns);
  const RowMajor results(out.data(), columns);
  double largest = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      double sum = 1;
      for (std::int64_t k = 0; k < inner; ++k) {
        sum += static_cast<double>(transposed ? a_rows[k][r] : a_rows[r][k]) * b_rows[k][c];
      }
      largest = larger_error(largest, std::abs(sum - static_cast<double>(results[r][c])));
    }
  }
  return largest;
}

}  // namespace

TEST_CASE("products of rows and of transposed rows agree with sums in double") {
  for (const bool transposed : {false, true}) {
    for (const std::int64_t rows : {1, 7, 8, 21}) {
      for (const std::int64_t columns : {16, 48, 112}) {
        CAPTURE(transposed);
        CAPTURE(rows);
        CAPTURE(columns);
        CHECK(largest_product_error(kernels()->product_f32, rows, columns, 65, transposed) < 2e-5);
        CHECK(largest_product_error(kernels()->product_f64, rows, columns, 65, transposed) < 1e-13);
      }
    }
  }
}

TEST_CASE("the inverse of a positive definite matrix times the matrix is one") {
  constexpr std::int64_t kSize = 112;
  Machine machine(3);
  const auto random = values(kSize * kSize, 5);
  const RowMajor factor(random.data(), kSize);
  std::vector<double> products(kSize * kSize);
  const RowMajor matrix(products.data(), kSize);
  for (std::int64_t i = 0; i < kSize; ++i) {
    for (std::int64_t j = 0; j < kSize; ++j) {
      for (std::int64_t k = 0; k < kSize; ++k) matrix[i][j] += factor[i][k] * factor[j][k];
    }
    matrix[i][i] += 1;
  }
  auto inverted = products;
  REQUIRE(invert_spd(machine.context(), inverted.data(), kSize));
  const RowMajor inverse(inverted.data(), kSize);
  double largest = 0;
  for (std::int64_t i = 0; i < kSize; ++i) {
    for (std::int64_t j = 0; j < kSize; ++j) {
      double sum = i == j ? -1 : 0;
      for (std::int64_t k = 0; k < kSize; ++k) sum += matrix[i][k] * inverse[k][j];
      largest = larger_error(largest, std::abs(sum));
    }
  }
  CHECK(largest < 1e-9);
}

TEST_CASE("a matrix that is not positive definite has no inverse") {
  constexpr std::int64_t kSize = 16;
  Machine machine(1);
  std::vector<double> matrix(kSize * kSize);
  for (std::size_t i = 0; i < kSize; ++i) matrix[i * kSize + i] = i == 9 ? -1 : 1;
  CHECK_FALSE(invert_spd(machine.context(), matrix.data(), kSize));
}

TEST_CASE("the gradient at the result is below the tolerance, for any number of classes and any lambda") {
  for (const std::int32_t classes : {2, 3, 21}) {
    for (const double lambda : {1e-4, 1.0, 100.0}) {
      CAPTURE(kernels_name());
      CAPTURE(classes);
      CAPTURE(lambda);
      const auto problem = problem_of(900, 37, classes, lambda);
      LinearProbeResult result;
      const auto weights = fitted(problem, {.tolerance = 1e-9, .threads = 2}, &result);
      CHECK(result.converged);
      CHECK(result.iterations < 60);
      CHECK(largest_gradient(problem, weights) < 1.01e-9);
    }
  }
}

TEST_CASE("classes that can be separated are fitted with a weak penalty") {
  for (const std::int32_t classes : {2, 10}) {
    CAPTURE(classes);
    const auto problem = problem_of(60, 80, classes, 1e-3);
    LinearProbeResult result;
    const auto weights = fitted(problem, {.tolerance = 1e-9, .threads = 1}, &result);
    CHECK(result.converged);
    CHECK(largest_gradient(problem, weights) < 1.01e-9);
  }
}

TEST_CASE("the weights of three or more classes add up to zero") {
  const auto problem = problem_of(400, 20, 5, 0.5);
  const auto weights = fitted(problem, {.tolerance = 1e-10, .threads = 2});
  double intercepts = 0, first = 0;
  for (std::size_t k = 0; k < 5; ++k) {
    intercepts += weights.intercepts[k];
    first += weights.coefficients[k * 20];
  }
  CHECK(std::abs(intercepts) < 1e-10);
  CHECK(std::abs(first) < 1e-10);
}

TEST_CASE("a fit has the same bits with any number of threads") {
  const auto problem = problem_of(700, 90, 4, 0.01);
  const auto one = fitted(problem, {.tolerance = 1e-9, .threads = 1});
  const auto three = fitted(problem, {.tolerance = 1e-9, .threads = 3});
  CHECK(first_difference(three.coefficients, one.coefficients) == "");
  CHECK(first_difference(three.intercepts, one.intercepts) == "");
}

TEST_CASE("a fit that starts at a result is done") {
  const auto problem = problem_of(500, 30, 3, 1);
  auto weights = fitted(problem, {.tolerance = 1e-9, .threads = 1});
  const auto result = fit_linear_probe(problem.given, {.tolerance = 1.1e-9, .threads = 1}, weights.coefficients.data(),
                                       weights.intercepts.data());
  CHECK(result.iterations == 0);
  CHECK(result.converged);
}

TEST_CASE("a fit ends when its flag is set, and after its iterations") {
  const auto problem = problem_of(500, 30, 3, 1e-6);
  const std::int32_t cancel = 1;
  CHECK(outcome_of([&] { fitted(problem, {.threads = 1, .cancel = &cancel}); }) == TORCHCLIP_E_ABORTED);
  LinearProbeResult result;
  fitted(problem, {.tolerance = 1e-12, .max_iterations = 2, .threads = 1}, &result);
  CHECK(result.iterations == 2);
  CHECK_FALSE(result.converged);
}

TEST_CASE("logits are the product with the features plus the intercepts") {
  constexpr std::int64_t kRows = 9000, kDim = 5;  // more rows than are computed at once
  const auto features = values(kRows * kDim, 3);
  const std::vector<double> coefficients{1, 2, 3, 4, 5, -1, 0, 1, 0, -1}, intercepts{0.5, -2};
  std::vector<double> logits(kRows * 2);
  probe_logits(features.data(), kRows, kDim, coefficients.data(), intercepts.data(), 2, 2, logits.data());
  double largest = 0;
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t k = 0; k < 2; ++k) {
      double sum = intercepts[k];
      for (std::size_t d = 0; d < kDim; ++d) sum += coefficients[k * kDim + d] * features[i * kDim + d];
      largest = larger_error(largest, std::abs(sum - logits[i * 2 + k]));
    }
  }
  CHECK(largest < 1e-13);
}
