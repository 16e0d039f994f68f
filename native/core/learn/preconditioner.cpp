#include "learn/preconditioner.h"

#include <algorithm>
#include <cmath>

#include "learn/numbers.h"
#include "learn/spd.h"

namespace torchclip::core {
namespace {

constexpr double kLeastShare = 1e-9;
// Added to the diagonal, relative to its largest element: the Gram matrix has the rounding of float32 sums.
constexpr double kDamping = 2e-6;

int bucket_of(double share) { return static_cast<int>(std::lround(std::log2(std::max(share, kLeastShare)))); }

}  // namespace

Preconditioner::Preconditioner(const Context& context, const ProbeFeatures& features, std::int64_t heads,
                               double penalty)
    : context_(context), features_(features), heads_(heads), penalty_(penalty) {}

double Preconditioner::building_cost() const {
  const auto n = static_cast<double>(features_.rows()), d = static_cast<double>(features_.stride());
  return n * d * d + 2 * d * d * d;
}

void Preconditioner::use_diagonal(const LogisticLoss& loss) {
  shares_ = loss.head_curvature();
  groups_.clear();
  diagonal_.resize(static_cast<std::size_t>(features_.stride()));
  weighted_squares(context_, features_, loss.row_curvature().data(), diagonal_.data());
  for (double& x : diagonal_) x /= static_cast<double>(features_.rows());
}

void Preconditioner::use_gram(const LogisticLoss& loss) {
  shares_ = loss.head_curvature();
  groups_.clear();
  const std::int64_t stride = features_.stride();
  Numbers<double> gram(static_cast<std::size_t>(stride * stride));
  weighted_gram(context_, features_, loss.row_curvature().data(), gram.data());
  for (double& x : gram) x /= static_cast<double>(features_.rows());
  const bool fits = std::all_of(gram.begin(), gram.end(), [](double x) { return std::isfinite(x); });
  if (!fits) return use_diagonal(loss);  // The float32 sums of very large features overflow.
  for (std::int64_t k = 0; k < heads_; ++k) groups_[bucket_of(shares_[k])].heads.push_back(k);
  for (auto& [bucket, group] : groups_) group.inverse = damped(gram, std::exp2(bucket));
}

// The inverse of share x gram + penalty, with as much more on the diagonal as the rounding of the sums needs.
Numbers<double> Preconditioner::damped(const Numbers<double>& gram, double share) const {
  const std::int64_t stride = features_.stride(), dim = features_.dim();
  double largest = 0;
  for (std::int64_t i = 0; i <= dim; ++i) largest = std::max(largest, share * gram[i * stride + i]);
  for (double damping = kDamping * largest;; damping = std::max(damping * 10, 1e-30)) {
    Numbers<double> matrix(gram);
    for (double& x : matrix) x *= share;
    for (std::int64_t i = 0; i < stride; ++i) {
      double& x = matrix[i * stride + i];
      if (i < dim) x += penalty_;
      x = i > dim ? 1 : x + damping;
    }
    if (invert_spd(context_, matrix.data(), stride)) return matrix;
  }
}

void Preconditioner::apply(const double* in, double* out) const {
  const std::int64_t stride = features_.stride(), dim = features_.dim();
  if (groups_.empty()) {
    const double least = 1e-12 * *std::max_element(diagonal_.begin(), diagonal_.end()) + 1e-300;
    for (std::int64_t k = 0; k < heads_; ++k) {
      for (std::int64_t i = 0; i < stride; ++i) {
        const double scale = shares_[k] * diagonal_[i] + (i < dim ? penalty_ : 0) + least;
        out[k * stride + i] = i > dim ? 0 : in[k * stride + i] / scale;
      }
    }
    return center_heads(out, heads_, stride);
  }
  for (const auto& entry : groups_) {
    const auto& members = entry.second.heads;
    const auto& inverse = entry.second.inverse;
    const std::int64_t count = members.count();
    Numbers<double> rows(static_cast<std::size_t>(count * stride)), results(rows.size());
    for (std::int64_t i = 0; i < count; ++i) std::copy_n(in + members[i] * stride, stride, rows.data() + i * stride);
    constexpr std::int64_t kColumns = 96;
    context_.pool.parallel_for((stride + kColumns - 1) / kColumns, [&](std::int64_t task) {
      const std::int64_t column = task * kColumns;
      ProductArgs<double> args;
      args.a = rows.data();
      args.a_row = args.ldb = args.ldo = args.inner = stride;
      args.b = inverse.data() + column;
      args.out = results.data() + column;
      args.rows = count;
      args.columns = std::min(kColumns, stride - column);
      context_.kernels.product_f64(args);
    });
    for (std::int64_t i = 0; i < count; ++i)
      std::copy_n(results.data() + i * stride, stride, out + members[i] * stride);
  }
  center_heads(out, heads_, stride);
}

void center_heads(double* rows, std::int64_t heads, std::int64_t stride) {
  if (heads == 1) return;
  for (std::int64_t i = 0; i < stride; ++i) {
    double mean = 0;
    for (std::int64_t k = 0; k < heads; ++k) mean += rows[k * stride + i];
    mean /= static_cast<double>(heads);
    for (std::int64_t k = 0; k < heads; ++k) rows[k * stride + i] -= mean;
  }
}

}  // namespace torchclip::core
