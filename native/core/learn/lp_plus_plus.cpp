#include "learn/lp_plus_plus.h"

#include <algorithm>
#include <cmath>

#include "learn/logistic_loss.h"
#include "learn/numbers.h"
#include "learn/probe_features.h"
#include "linalg/thread_pool.h"

namespace torchclip::core {
namespace {

using Vector = Numbers<double>;

// The constants of the authors' code (github.com/FereshteShakeri/FewShot-CLIP-Strong-Baseline).
constexpr double kFirstAlpha = 250;  // alpha begins at so many times the mean cosine of images with their own texts.
constexpr double kMomentum = 0.9;
constexpr int kAlphaEvery = 10;  // A step of alpha follows so many steps of the weights.
constexpr double kWeightStep = 4, kAlphaStep = 0.25;

constexpr int kMostPowerSteps = 1000;
constexpr double kSameEigenvalue = 1e-14;

class Fit {
 public:
  Fit(const Context& context, const LpPlusPlusProblem& problem, const LpPlusPlusOptions& options)
      : context_(context),
        problem_(problem),
        options_(options),
        features_(problem.features, problem.rows, problem.dim),
        classes_(problem.classes),
        stride_(features_.stride()),
        width_(padded_heads(classes_)) {}

  void run();
  void copy_to(double* coefficients, double* intercepts, double* alphas) const;

 private:
  void begin();
  double largest_eigenvalue() const;
  void set_residuals();
  Vector alpha_gradient() const;
  void check() const {
    check_cancel(options_.cancel);
    check_cancel(options_.ending);
  }
  double rows() const { return static_cast<double>(features_.rows()); }
  std::size_t matrix_size() const { return static_cast<std::size_t>(features_.rows() * width_); }

  const Context& context_;
  const LpPlusPlusProblem& problem_;
  const LpPlusPlusOptions& options_;
  ProbeFeatures features_;
  std::int64_t classes_, stride_, width_;
  Vector weights_;             // [classes, stride]
  Vector alphas_;              // [classes]
  Vector cosines_;             // [rows, width]: of each image with each text
  Vector logits_, residuals_;  // [rows, width]
  double weight_step_ = 0, alpha_step_ = 0;
};

// The largest eigenvalue of features^T features, by power iteration.
double Fit::largest_eigenvalue() const {
  Vector v(static_cast<std::size_t>(stride_)), product(static_cast<std::size_t>(features_.rows() * padded_heads(1)));
  // Any vector that no eigenvector is orthogonal to, other than by chance.
  for (std::int64_t i = 0; i < problem_.dim; ++i) v[i] = 1 + 0.5 * std::sin(static_cast<double>(i + 1));
  double eigenvalue = 0;
  for (int step = 0; step < kMostPowerSteps; ++step) {
    check();
    double norm = 0;
    for (const double x : v) norm += x * x;
    for (double& x : v) x /= std::sqrt(norm);
    multiply(context_, features_, v.data(), 1, product.data());
    multiply_transposed(context_, features_, product.data(), 1, v.data());
    v[problem_.dim] = 0;  // the one behind the features is none of them
    double next = 0;
    for (const double x : v) next += x * x;
    next = std::sqrt(next);
    if (std::abs(next - eigenvalue) <= kSameEigenvalue * next) return next;
    eigenvalue = next;
  }
  return eigenvalue;
}

// The weights begin at the sums of each class's images, alpha at a multiple of their cosine with its text.
void Fit::begin() {
  weights_.assign(static_cast<std::size_t>(classes_ * stride_), 0);
  Vector texts(weights_.size()), counts(static_cast<std::size_t>(classes_)), own(counts.size());
  for (std::int64_t k = 0; k < classes_; ++k) {
    std::copy_n(problem_.texts + k * problem_.dim, problem_.dim, texts.data() + k * stride_);
  }
  cosines_.resize(matrix_size());
  multiply(context_, features_, texts.data(), classes_, cosines_.data());
  Vector squares(counts.size());
  for (std::int64_t i = 0; i < features_.rows(); ++i) {
    const std::int64_t label = problem_.labels[i];
    for (std::int64_t d = 0; d < problem_.dim; ++d) weights_[label * stride_ + d] += features_.row(i)[d];
    counts[label] += 1;
    own[label] += cosines_[i * width_ + label];
    for (std::int64_t k = 0; k < classes_; ++k) squares[k] += cosines_[i * width_ + k] * cosines_[i * width_ + k];
  }
  double mean = 0;
  for (std::int64_t k = 0; k < classes_; ++k) mean += own[k] / counts[k] / static_cast<double>(classes_);
  alphas_.assign(counts.size(), kFirstAlpha * mean);
  weight_step_ = kWeightStep * rows() / largest_eigenvalue();
  alpha_step_ = kAlphaStep * rows() / *std::max_element(squares.begin(), squares.end());
}

// The softmax of the logits less the labels, divided by the number of rows: the gradient of the mean cross-entropy.
void Fit::set_residuals() {
  multiply(context_, features_, weights_.data(), classes_, logits_.data());
  context_.pool.parallel_for(features_.rows(), [&](std::int64_t i) {
    double* z = logits_.data() + i * width_;
    double* residual = residuals_.data() + i * width_;
    for (std::int64_t k = 0; k < classes_; ++k) z[k] += alphas_[k] * cosines_[i * width_ + k];
    softmax(z, classes_, residual);
    for (std::int64_t k = 0; k < classes_; ++k) {
      residual[k] = (residual[k] - (k == problem_.labels[i] ? 1 : 0)) / rows();
    }
  });
}

Vector Fit::alpha_gradient() const {
  Vector gradient(static_cast<std::size_t>(classes_));
  for (std::int64_t i = 0; i < features_.rows(); ++i) {
    for (std::int64_t k = 0; k < classes_; ++k) gradient[k] += residuals_[i * width_ + k] * cosines_[i * width_ + k];
  }
  return gradient;
}

void Fit::run() {
  begin();
  logits_.resize(matrix_size());
  residuals_.assign(matrix_size(), 0);
  Vector gradient(weights_.size()), velocity(weights_.size());
  for (int step = 1; step <= options_.steps; ++step) {
    check();
    set_residuals();
    multiply_transposed(context_, features_, residuals_.data(), classes_, gradient.data());
    for (std::int64_t i = 0; i < weights_.count(); ++i) {
      velocity[i] = kMomentum * velocity[i] + gradient[i];
      weights_[i] -= weight_step_ * velocity[i];
    }
    if (step % kAlphaEvery != 0) continue;
    const Vector of_alpha = alpha_gradient();
    for (std::int64_t k = 0; k < classes_; ++k) alphas_[k] -= alpha_step_ * of_alpha[k];
  }
}

void Fit::copy_to(double* coefficients, double* intercepts, double* alphas) const {
  const std::int64_t dim = problem_.dim;
  for (std::int64_t k = 0; k < classes_; ++k) {
    for (std::int64_t d = 0; d < dim; ++d) {
      coefficients[k * dim + d] = weights_[k * stride_ + d] + alphas_[k] * problem_.texts[k * dim + d];
    }
    intercepts[k] = weights_[k * stride_ + dim];
    alphas[k] = alphas_[k];
  }
}

}  // namespace

void fit_lp_plus_plus(const LpPlusPlusProblem& problem, const LpPlusPlusOptions& options, double* coefficients,
                      double* intercepts, double* alphas) {
  ThreadPool pool(thread_count(options.threads));
  const Context context{*kernels(), pool};
  Fit fit(context, problem, options);
  fit.run();
  fit.copy_to(coefficients, intercepts, alphas);
}

}  // namespace torchclip::core
