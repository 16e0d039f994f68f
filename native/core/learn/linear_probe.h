// Logistic regression on features: the weights W [heads, dim] and intercepts b [heads] that minimise
//
//   sum_i loss(W x_i + b, y_i) + lambda / 2 |W|^2
//
// which is scikit-learn's LogisticRegression(C=1/lambda): the intercept is not penalised, two classes have one head,
// and of the intercepts of three or more classes, which are determined up to a shift, those whose mean is zero are
// returned.
#pragma once

#include <cstdint>

#include "base/cancel.h"

namespace torchclip::core {

struct LinearProbeProblem {
  const float* features = nullptr;       // [rows, dim], finite
  const std::int32_t* labels = nullptr;  // [rows], each in [0, classes)
  std::int64_t rows = 0, dim = 0;
  std::int32_t classes = 0;
  double lambda = 1;  // positive

  std::int64_t heads() const { return classes == 2 ? 1 : classes; }
};

struct LinearProbeOptions {
  // The fit ends when no element of the gradient of the objective, divided by the number of rows, is larger.
  double tolerance = 1e-8;
  std::int32_t max_iterations = 1000;
  std::int32_t threads = 0;  // 0: one per core
  Cancel cancel = nullptr;   // Ends the fit with Error(E_ABORTED) before its next product with the features.
  Cancel ending = nullptr;   // The same, for a process that ends.
  // Updated after each iteration: iterations, products with the features, objective / rows, max |gradient| / rows.
  volatile double* progress = nullptr;  // [4] or null
};

struct LinearProbeResult {
  std::int64_t iterations = 0;
  std::int64_t products = 0;  // Passes over the features.
  double objective = 0;       // Divided by the number of rows.
  double gradient = 0;        // max |gradient| / rows
  bool converged = false;
};

// coefficients: float64 [heads, dim], intercepts: float64 [heads]. They are the start, and become the result.
LinearProbeResult fit_linear_probe(const LinearProbeProblem& problem, const LinearProbeOptions& options,
                                   double* coefficients, double* intercepts);

// logits: float64 [rows, heads] = features W^T + b, for features [rows, dim].
void probe_logits(const float* features, std::int64_t rows, std::int64_t dim, const double* coefficients,
                  const double* intercepts, std::int64_t heads, std::int32_t threads, double* logits);

}  // namespace torchclip::core
