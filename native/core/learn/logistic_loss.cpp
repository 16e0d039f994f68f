#include "learn/logistic_loss.h"
#include "learn/numbers.h"

#include <algorithm>
#include <cmath>

namespace torchclip::core {

double softmax(const double* z, std::int64_t heads, double* p) {
  const double largest = *std::max_element(z, z + heads);
  double sum = 0;
  for (std::int64_t k = 0; k < heads; ++k) sum += p[k] = std::exp(z[k] - largest);
  for (std::int64_t k = 0; k < heads; ++k) p[k] /= sum;
  return largest + std::log(sum);
}

namespace {

constexpr std::int64_t kBlockRows = 256;  // Rows of a task. Sums are added block by block, in the same order always.

// log(1 + exp(z)) without overflow.
double softplus(double z) { return z > 0 ? z + std::log1p(std::exp(-z)) : std::log1p(std::exp(z)); }

double sigmoid(double z) {
  if (z >= 0) return 1 / (1 + std::exp(-z));
  const double e = std::exp(z);
  return e / (1 + e);
}

// The loss of one row, whose probabilities are written to p [heads].
double row_loss(const double* z, std::int64_t heads, std::int32_t label, double* p) {
  if (heads > 1) return softmax(z, heads, p) - z[label];
  p[0] = sigmoid(z[0]);
  return label == 1 ? softplus(-z[0]) : softplus(z[0]);
}

// What a head's probability should be.
double target(std::int64_t heads, std::int32_t label, std::int64_t head) {
  return (heads > 1 ? head == label : label == 1) ? 1 : 0;
}

}  // namespace

LogisticLoss::LogisticLoss(const Context& context, const ProbeFeatures& features, const std::int32_t* labels,
                           std::int64_t heads)
    : context_(context), features_(features), labels_(labels), heads_(heads), width_(padded_heads(heads)) {
  const auto values = static_cast<std::size_t>(features.rows() * width_);
  logits_ = Buffer(values * sizeof(double));
  direction_ = Buffer(values * sizeof(double));
  probabilities_ = Buffer(values * sizeof(float));
  products_ = Buffer(values * sizeof(float));
  std::fill_n(direction_.as<double>(), values, 0.0);  // along(0) may come before the first direction
  std::fill_n(probabilities_.as<float>(), values, 0.0f);
  row_curvature_.resize(static_cast<std::size_t>(features.rows()));
  head_curvature_.resize(static_cast<std::size_t>(heads));
}

std::int64_t LogisticLoss::blocks() const { return (features_.rows() + kBlockRows - 1) / kBlockRows; }

// Calls work(block, first row, end row) on the threads.
template <typename Work>
void LogisticLoss::each_block(Work&& work) const {
  context_.pool.parallel_for(blocks(), [&](std::int64_t block) {
    work(block, block * kBlockRows, std::min(features_.rows(), (block + 1) * kBlockRows));
  });
}

void LogisticLoss::set_weights(const double* weights) {
  multiply(context_, features_, weights, heads_, logits_.as<double>());
}

void LogisticLoss::set_direction(const double* direction) {
  multiply(context_, features_, direction, heads_, direction_.as<double>());
}

LogisticLoss::Along LogisticLoss::along(double step) const {
  Numbers<Along> parts(static_cast<std::size_t>(blocks()));
  each_block([&](std::int64_t block, std::int64_t first, std::int64_t end) {
    Numbers<double> z(static_cast<std::size_t>(heads_)), p(z.size());
    Along sum;
    for (std::int64_t i = first; i < end; ++i) {
      const double* at = logits_.as<double>() + i * width_;
      const double* change = direction_.as<double>() + i * width_;
      for (std::int64_t k = 0; k < heads_; ++k) z[k] = at[k] + step * change[k];
      sum.value += row_loss(z.data(), heads_, labels_[i], p.data());
      for (std::int64_t k = 0; k < heads_; ++k) sum.slope += (p[k] - target(heads_, labels_[i], k)) * change[k];
    }
    parts[block] = sum;
  });
  Along total;
  for (const auto& part : parts) {
    total.value += part.value;
    total.slope += part.slope;
  }
  const auto rows = static_cast<double>(features_.rows());
  return {total.value / rows, total.slope / rows};
}

void LogisticLoss::move(double step) {
  each_block([&](std::int64_t, std::int64_t first, std::int64_t end) {
    double* z = logits_.as<double>();
    const double* change = direction_.as<double>();
    for (std::int64_t i = first * width_; i < end * width_; ++i) z[i] += step * change[i];
  });
}

void LogisticLoss::gradient(double* out) {
  Numbers<Numbers<double>> parts(static_cast<std::size_t>(blocks()));
  each_block([&](std::int64_t block, std::int64_t first, std::int64_t end) {
    Numbers<double> p(static_cast<std::size_t>(heads_));
    auto& of_heads = parts[block];
    of_heads.resize(p.size());
    for (std::int64_t i = first; i < end; ++i) {
      double* residual = direction_.as<double>() + i * width_;
      float* kept = probabilities_.as<float>() + i * width_;
      row_loss(logits_.as<double>() + i * width_, heads_, labels_[i], p.data());
      double curvature = 0;
      for (std::int64_t k = 0; k < heads_; ++k) {
        residual[k] = p[k] - target(heads_, labels_[i], k);
        kept[k] = static_cast<float>(p[k]);
        const double own = p[k] * (1 - p[k]);
        curvature += own;
        of_heads[k] += own;
      }
      std::fill(residual + heads_, residual + width_, 0.0);
      if (heads_ == 1) kept[1] = static_cast<float>(sigmoid(-logits_.as<double>()[i * width_]));
      row_curvature_[i] = static_cast<float>(curvature / static_cast<double>(heads_));
    }
  });
  std::fill(head_curvature_.begin(), head_curvature_.end(), 0.0);
  double total = 0;
  for (const auto& part : parts) {
    for (std::int64_t k = 0; k < heads_; ++k) head_curvature_[k] += part[k];
  }
  for (const double curvature : head_curvature_) total += curvature / static_cast<double>(heads_);
  for (double& curvature : head_curvature_) curvature = total > 0 ? curvature / total : 1;
  multiply_transposed(context_, features_, direction_.as<double>(), heads_, out);
  for (std::int64_t i = 0; i < heads_ * features_.stride(); ++i) out[i] /= static_cast<double>(features_.rows());
}

namespace {

// With u = v x for a row x, its share of the product with the Hessian is t x^T, where t_k = p_k (u_k - sum_j p_j u_j).
// It replaces u. Differences to the likeliest class keep their digits where its probability rounds to 1.
void softmax_products(const float* p, std::int64_t heads, float scale, float* u) {
  const float base = u[std::max_element(p, p + heads) - p];
  float mean = 0;
  for (std::int64_t k = 0; k < heads; ++k) mean += p[k] * (u[k] - base);
  for (std::int64_t k = 0; k < heads; ++k) u[k] = scale * p[k] * ((u[k] - base) - mean);
}

}  // namespace

void LogisticLoss::hessian_product(const float* v, float* out) {
  multiply(context_, features_, v, heads_, products_.as<float>());
  const float scale = 1.0f / static_cast<float>(features_.rows());
  each_block([&](std::int64_t, std::int64_t first, std::int64_t end) {
    for (std::int64_t i = first; i < end; ++i) {
      float* u = products_.as<float>() + i * width_;
      const float* p = probabilities_.as<float>() + i * width_;
      if (heads_ > 1) {
        softmax_products(p, heads_, scale, u);
      } else {
        u[0] *= scale * p[0] * p[1];
      }
    }
  });
  multiply_transposed(context_, features_, products_.as<float>(), heads_, out);
}

}  // namespace torchclip::core
