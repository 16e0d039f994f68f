// A truncated Newton method (Nocedal and Wright, Numerical Optimization, 2nd edition, section 7.1). The objective and
// its gradient are float64; the Newton equations are solved by preconditioned conjugate gradients with float32
// products, to a few digits. A step costs two float64 products with the features, however often its length is tried.
#include "learn/linear_probe.h"

#include <algorithm>
#include <cmath>

#include "learn/logistic_loss.h"
#include "learn/numbers.h"
#include "learn/preconditioner.h"
#include "learn/probe_features.h"
#include "linalg/thread_pool.h"

namespace torchclip::core {
namespace {

using Vector = Numbers<double>;

constexpr int kMostInner = 250;       // Steps of conjugate gradients for one direction.
constexpr int kFewInner = 8;          // With so few of them the preconditioner is good enough.
constexpr double kLargestRest = 0.1;  // The share of the gradient that a direction may leave.
constexpr double kLeastRest = 1e-3;
constexpr double kSufficient = 1e-4;  // The share of the expected decrease that a step must reach (Armijo).
constexpr double kRounding = 1e-14;   // The relative rounding of the objective.
constexpr int kMostTrials = 40;

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::int64_t i = 0; i < a.count(); ++i) sum += a[i] * b[i];
  return sum;
}

double largest_magnitude(const Vector& a) {
  double largest = 0;
  for (const double x : a) largest = std::max(largest, std::abs(x));
  return largest;
}

// Coefficients [heads, dim] and intercepts [heads] as weights [heads, stride].
Vector joined(const double* coefficients, const double* intercepts, std::int64_t heads, std::int64_t dim,
              std::int64_t stride) {
  Vector weights(static_cast<std::size_t>(heads * stride));
  for (std::int64_t k = 0; k < heads; ++k) {
    std::copy_n(coefficients + k * dim, dim, weights.data() + k * stride);
    weights[k * stride + dim] = intercepts[k];
  }
  return weights;
}

class Fit {
 public:
  Fit(const Context& context, const LinearProbeProblem& problem, const LinearProbeOptions& options)
      : options_(options),
        features_(problem.features, problem.rows, problem.dim),
        loss_(context, features_, problem.labels, problem.heads()),
        penalty_(problem.lambda / static_cast<double>(problem.rows)),
        preconditioner_(context, features_, problem.heads(), penalty_),
        heads_(problem.heads()),
        stride_(features_.stride()),
        weights_(static_cast<std::size_t>(heads_ * stride_)),
        gradient_(weights_.size()) {}

  void start(const double* coefficients, const double* intercepts);
  LinearProbeResult run();
  void copy_to(double* coefficients, double* intercepts) const;

 private:
  void compute_gradient();
  Vector direction();
  bool step_along(const Vector& direction);
  Vector hessian_product(const Vector& v);
  double penalty_product(const Vector& a, const Vector& b) const;
  void add_penalty(const Vector& of, Vector& to) const;
  void choose_preconditioner();
  void check() const {
    check_cancel(options_.cancel);
    check_cancel(options_.ending);
  }
  void report() const;
  double product_cost() const { return 4.0 * static_cast<double>(features_.rows() * stride_ * padded_heads(heads_)); }

  const LinearProbeOptions& options_;
  ProbeFeatures features_;
  LogisticLoss loss_;
  double penalty_;
  Preconditioner preconditioner_;
  std::int64_t heads_, stride_;
  Vector weights_, gradient_;  // [heads, stride]; the intercept stands behind the features
  LinearProbeResult result_;
  double first_rest_ = 0;   // |gradient| in the norm of the preconditioner when it was chosen.
  int last_inner_ = 0;      // Steps of conjugate gradients in the last direction.
  double spent_inner_ = 0;  // Operations of such steps since the preconditioner was built.
  bool has_gram_ = false;
};

void Fit::start(const double* coefficients, const double* intercepts) {
  weights_ = joined(coefficients, intercepts, heads_, features_.dim(), stride_);
  center_heads(weights_.data(), heads_, stride_);
  check();
  loss_.set_weights(weights_.data());
  result_.products = 1;
  result_.objective = loss_.along(0).value + penalty_product(weights_, weights_) / 2;
}

void Fit::copy_to(double* coefficients, double* intercepts) const {
  const std::int64_t dim = features_.dim();
  for (std::int64_t k = 0; k < heads_; ++k) {
    std::copy_n(weights_.data() + k * stride_, dim, coefficients + k * dim);
    intercepts[k] = weights_[k * stride_ + dim];
  }
}

// The penalty's inner product: without the intercepts.
double Fit::penalty_product(const Vector& a, const Vector& b) const {
  double sum = 0;
  for (std::int64_t k = 0; k < heads_; ++k) {
    for (std::int64_t i = k * stride_; i < k * stride_ + features_.dim(); ++i) sum += a[i] * b[i];
  }
  return penalty_ * sum;
}

// Adds the penalty's product with `of`.
void Fit::add_penalty(const Vector& of, Vector& to) const {
  for (std::int64_t k = 0; k < heads_; ++k) {
    for (std::int64_t i = k * stride_; i < k * stride_ + features_.dim(); ++i) to[i] += penalty_ * of[i];
  }
}

void Fit::compute_gradient() {
  check();
  loss_.gradient(gradient_.data());
  ++result_.products;
  add_penalty(weights_, gradient_);
  result_.gradient = largest_magnitude(gradient_);
}

void Fit::report() const {
  if (!options_.progress) return;
  const double values[] = {static_cast<double>(result_.iterations), static_cast<double>(result_.products),
                           result_.objective, result_.gradient};
  for (int i = 0; i < 4; ++i) options_.progress[i] = values[i];
}

Vector Fit::hessian_product(const Vector& v) {
  check();
  const Numbers<float> narrow(v.begin(), v.end());
  Numbers<float> product(narrow.size());
  loss_.hessian_product(narrow.data(), product.data());
  result_.products += 2;
  spent_inner_ += product_cost();
  Vector wide(product.begin(), product.end());
  add_penalty(v, wide);
  return wide;
}

// The Gram matrix is built when the steps without it, or with an old one, have cost as much as building it.
void Fit::choose_preconditioner() {
  if (spent_inner_ >= preconditioner_.building_cost() && last_inner_ > kFewInner) {
    preconditioner_.use_gram(loss_);
    has_gram_ = true;
    spent_inner_ = 0;
    first_rest_ = 0;
  } else if (!has_gram_) {
    preconditioner_.use_diagonal(loss_);
  }
}

// A descent direction: an approximate solution of Hessian x direction = -gradient.
Vector Fit::direction() {
  choose_preconditioner();
  Vector solution(gradient_.size()), rest(gradient_.size()), preconditioned(gradient_.size());
  for (std::int64_t i = 0; i < rest.count(); ++i) rest[i] = -gradient_[i];
  preconditioner_.apply(rest.data(), preconditioned.data());
  double norm = dot(rest, preconditioned);
  if (first_rest_ == 0) first_rest_ = norm;
  const double share = std::clamp(std::sqrt(std::sqrt(norm / first_rest_)), kLeastRest, kLargestRest);
  const double enough = norm * share * share;
  Vector search = preconditioned;
  for (last_inner_ = 0; last_inner_ < kMostInner && norm > enough; ++last_inner_) {
    const Vector product = hessian_product(search);
    const double curvature = dot(search, product);
    if (!(curvature > 0)) break;
    const double step = norm / curvature;
    for (std::int64_t i = 0; i < rest.count(); ++i) {
      solution[i] += step * search[i];
      rest[i] -= step * product[i];
    }
    if (largest_magnitude(rest) < options_.tolerance / 4) {
      ++last_inner_;
      break;
    }
    preconditioner_.apply(rest.data(), preconditioned.data());
    const double next = dot(rest, preconditioned);
    const double ratio = next / norm;
    norm = next;
    for (std::int64_t i = 0; i < search.count(); ++i) search[i] = preconditioned[i] + ratio * search[i];
  }
  return last_inner_ > 0 ? solution : search;
}

// Moves the weights along a direction, as far as the objective decreases enough. Near the minimum, where the decrease
// drowns in rounding, the slope decides (Hager and Zhang 2005, doi:10.1137/030601880, the approximate Wolfe condition).
bool Fit::step_along(const Vector& direction) {
  check();
  loss_.set_direction(direction.data());
  ++result_.products;
  const double linear = penalty_product(weights_, direction), square = penalty_product(direction, direction);
  const double start = result_.objective, slope = dot(gradient_, direction);
  const double constant = penalty_product(weights_, weights_) / 2;
  if (!(slope < 0)) return false;
  double step = 1;
  for (int trial = 0; trial < kMostTrials; ++trial) {
    const auto at = loss_.along(step);
    const double value = at.value + constant + step * linear + step * step * square / 2;
    const double slope_there = at.slope + linear + step * square;
    const bool decreases = value <= start + kSufficient * step * slope;
    const bool flattens =
        value <= start + kRounding * std::abs(start) && std::abs(slope_there) <= 0.9 * std::abs(slope);
    if (decreases || flattens) {
      loss_.move(step);
      for (std::int64_t i = 0; i < weights_.count(); ++i) weights_[i] += step * direction[i];
      result_.objective = value;
      return true;
    }
    // The secant of the slope, kept away from both ends.
    const double secant = slope_there > slope ? slope / (slope - slope_there) : 0.5;
    step *= std::clamp(secant, 0.1, 0.5);
  }
  return false;
}

LinearProbeResult Fit::run() {
  compute_gradient();
  report();
  while (result_.gradient > options_.tolerance && result_.iterations < options_.max_iterations) {
    if (!step_along(direction())) break;
    ++result_.iterations;
    compute_gradient();
    report();
  }
  result_.converged = result_.gradient <= options_.tolerance;
  return result_;
}

}  // namespace

LinearProbeResult fit_linear_probe(const LinearProbeProblem& problem, const LinearProbeOptions& options,
                                   double* coefficients, double* intercepts) {
  ThreadPool pool(thread_count(options.threads));
  const Context context{*kernels(), pool};
  Fit fit(context, problem, options);
  fit.start(coefficients, intercepts);
  const auto result = fit.run();
  fit.copy_to(coefficients, intercepts);
  return result;
}

void probe_logits(const float* features, std::int64_t rows, std::int64_t dim, const double* coefficients,
                  const double* intercepts, std::int64_t heads, std::int32_t threads, double* logits) {
  constexpr std::int64_t kRowsAtOnce = 8192;  // bounds the copy of the features
  ThreadPool pool(thread_count(threads));
  const Context context{*kernels(), pool};
  const std::int64_t width = padded_heads(heads);
  Vector weights, padded;
  for (std::int64_t first = 0; first < rows; first += kRowsAtOnce) {
    const ProbeFeatures block(features + first * dim, std::min(kRowsAtOnce, rows - first), dim);
    if (weights.empty()) weights = joined(coefficients, intercepts, heads, dim, block.stride());
    padded.resize(static_cast<std::size_t>(block.rows() * width));
    multiply(context, block, weights.data(), heads, padded.data());
    for (std::int64_t i = 0; i < block.rows(); ++i) {
      std::copy_n(padded.data() + i * width, heads, logits + (first + i) * heads);
    }
  }
}

}  // namespace torchclip::core
