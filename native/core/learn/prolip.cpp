#include "learn/prolip.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "learn/logistic_loss.h"
#include "learn/numbers.h"
#include "learn/probe_features.h"
#include "linalg/thread_pool.h"

namespace torchclip::core {
namespace {

using Vector = Numbers<double>;

// Adam (Kingma and Ba, arXiv:1412.6980) with the epsilon of the authors' code (github.com/astra-vision/ProLIP), whose
// other constants are those of the paper.
constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-4;
constexpr std::int64_t kWeightsOfTask = 1 << 14;

class Fit {
 public:
  Fit(const Context& context, const ProlipProblem& problem, const ProlipOptions& options);

  void run();
  void copy_to(double* matrix) const;

 private:
  void project();
  void set_residuals();
  void pull_back();
  void adam(int step);
  void check() const {
    check_cancel(options_.cancel);
    check_cancel(options_.ending);
  }

  const Context& context_;
  const ProlipProblem& problem_;
  const ProlipOptions& options_;
  ProbeFeatures features_;  // With a one behind each row, whose weight is the bias.
  ProbeFeatures texts_;
  std::int64_t rows_, columns_, stride_, width_, text_stride_, padded_rows_;
  Vector first_, weights_, gradient_;  // [columns, stride]: W_0 and W with the bias behind each row
  Vector mean_, square_;               // Adam's, [columns, stride]
  Vector projected_;                   // [rows, width]: W x + b, then the gradient by it
  Vector lengths_;                     // [rows]: of the projected rows
  Vector embeddings_, pulls_;          // [rows, text stride]: the normalised rows, and the gradient by them
  Vector logits_;                      // [classes, padded rows], then the residuals
};

Fit::Fit(const Context& context, const ProlipProblem& problem, const ProlipOptions& options)
    : context_(context),
      problem_(problem),
      options_(options),
      features_(problem.features, problem.rows, problem.dim),
      texts_(problem.texts, problem.classes, problem.columns),
      rows_(problem.rows),
      columns_(problem.columns),
      stride_(features_.stride()),
      width_(padded_heads(columns_)),
      text_stride_(texts_.stride()),
      padded_rows_(padded_heads(rows_)) {
  const auto size = [](std::int64_t a, std::int64_t b) { return static_cast<std::size_t>(a * b); };
  first_.resize(size(columns_, stride_));
  for (std::int64_t c = 0; c < columns_; ++c) {
    std::copy_n(problem.matrix + c * problem.dim, problem.dim, first_.data() + c * stride_);
    first_[c * stride_ + problem.dim] = problem.bias[c];
  }
  weights_ = first_;
  gradient_.resize(first_.size());
  mean_.resize(first_.size());
  square_.resize(first_.size());
  projected_.resize(size(rows_, width_));
  lengths_.resize(static_cast<std::size_t>(rows_));
  embeddings_.resize(size(rows_, text_stride_));
  pulls_.resize(embeddings_.size());
  logits_.resize(size(problem.classes, padded_rows_));
}

void Fit::project() {
  multiply(context_, features_, weights_.data(), columns_, projected_.data());
  context_.pool.parallel_for(rows_, [&](std::int64_t i) {
    const double* from = projected_.data() + i * width_;
    double squares = 0;
    for (std::int64_t c = 0; c < columns_; ++c) squares += from[c] * from[c];
    lengths_[i] = std::sqrt(squares);
    double* to = embeddings_.data() + i * text_stride_;
    for (std::int64_t c = 0; c < columns_; ++c) to[c] = from[c] / lengths_[i];
  });
  multiply(context_, texts_, embeddings_.data(), rows_, logits_.data());
}

// The gradient of the mean cross-entropy by the cosines of images and texts.
void Fit::set_residuals() {
  const double scale = problem_.logit_scale;
  const std::int64_t classes = problem_.classes;
  context_.pool.parallel_for(rows_, [&](std::int64_t i) {
    Vector z(static_cast<std::size_t>(classes)), p(z.size());
    for (std::int64_t k = 0; k < classes; ++k) z[k] = scale * logits_[k * padded_rows_ + i];
    softmax(z.data(), classes, p.data());
    p[problem_.labels[i]] -= 1;
    for (std::int64_t k = 0; k < classes; ++k) {
      logits_[k * padded_rows_ + i] = scale * p[k] / static_cast<double>(rows_);
    }
  });
}

// From the gradient by the normalised rows g to that by the projected rows: (g - (g . f) f) / |W x + b|.
void Fit::pull_back() {
  multiply_transposed(context_, texts_, logits_.data(), rows_, pulls_.data());
  context_.pool.parallel_for(rows_, [&](std::int64_t i) {
    const double *pull = pulls_.data() + i * text_stride_, *embedding = embeddings_.data() + i * text_stride_;
    double along = 0;
    for (std::int64_t c = 0; c < columns_; ++c) along += pull[c] * embedding[c];
    double* to = projected_.data() + i * width_;
    for (std::int64_t c = 0; c < columns_; ++c) to[c] = (pull[c] - along * embedding[c]) / lengths_[i];
  });
  multiply_transposed(context_, features_, projected_.data(), columns_, gradient_.data());
}

void Fit::adam(int step) {
  const double progress = static_cast<double>(step - 1) / options_.steps;
  const double rate = options_.learning_rate * (1 + std::cos(std::numbers::pi * progress)) / 2;
  const double bias1 = 1 - std::pow(kBeta1, step), bias2 = 1 - std::pow(kBeta2, step);
  const std::int64_t count = weights_.count(), dim = problem_.dim;
  context_.pool.parallel_for((count + kWeightsOfTask - 1) / kWeightsOfTask, [&](std::int64_t task) {
    const std::int64_t end = std::min(count, (task + 1) * kWeightsOfTask);
    for (std::int64_t i = task * kWeightsOfTask; i < end; ++i) {
      if (i % stride_ >= dim) continue;  // the bias stays as it is
      const double g = gradient_[i] + 2 * problem_.lambda * (weights_[i] - first_[i]);
      mean_[i] = kBeta1 * mean_[i] + (1 - kBeta1) * g;
      square_[i] = kBeta2 * square_[i] + (1 - kBeta2) * g * g;
      weights_[i] -= rate * (mean_[i] / bias1) / (std::sqrt(square_[i] / bias2) + kEpsilon);
    }
  });
}

void Fit::run() {
  for (int step = 1; step <= options_.steps; ++step) {
    check();
    project();
    set_residuals();
    pull_back();
    adam(step);
  }
}

void Fit::copy_to(double* matrix) const {
  for (std::int64_t c = 0; c < columns_; ++c) {
    std::copy_n(weights_.data() + c * stride_, problem_.dim, matrix + c * problem_.dim);
  }
}

}  // namespace

void fit_prolip(const ProlipProblem& problem, const ProlipOptions& options, double* matrix) {
  ThreadPool pool(thread_count(options.threads));
  const Context context{*kernels(), pool};
  Fit fit(context, problem, options);
  fit.run();
  fit.copy_to(matrix);
}

}  // namespace torchclip::core
