#include "model/cpu/merged_convolution.h"

#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/item.h"
#include "model/cpu/folded_convolution.h"

namespace torchclip::core {

FixedBatchNorm::FixedBatchNorm(const Weights& weights, const std::string& key, std::int64_t width) {
  const auto gamma = need(weights, key + ".weight", width, 1), beta = need(weights, key + ".bias", width, 1);
  const auto mean = need(weights, key + ".running_mean", width, 1);
  const auto variance = need(weights, key + ".running_var", width, 1);
  for (std::int64_t i = 0; i < width; ++i) {
    const double factor = gamma.data[i] / std::sqrt(static_cast<double>(variance.data[i]) + kBatchNormEps);
    scale.push_back(factor);
    shift.push_back(beta.data[i] - mean.data[i] * factor);
  }
}

MergedConvolution::MergedConvolution(std::int64_t columns, std::int64_t channels, std::int64_t kernel)
    : columns_(columns),
      channels_(channels),
      kernel_(kernel),
      weights_(static_cast<std::size_t>(columns * kernel * kernel * channels)),
      bias_(static_cast<std::size_t>(columns)) {}

void MergedConvolution::add(const Weights& weights, const std::string& conv, const std::string& norm) {
  const auto w = need(weights, conv + ".weight");
  const std::int64_t own = w.shape.size() == 4 ? w.shape[3] : 0;
  if (own < 1 || own > kernel_ || w.rows() != columns_ || w.inner() != channels_ * own * own) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, conv + " has another shape than the model's settings say");
  }
  FixedBatchNorm normed = norm.empty() ? FixedBatchNorm() : FixedBatchNorm(weights, norm, columns_);
  const auto bias = weights(conv + ".bias");
  const std::int64_t edge = (kernel_ - own) / 2;
  for (std::int64_t n = 0; n < columns_; ++n) {
    const double factor = norm.empty() ? 1 : item(normed.scale, n);
    item(bias_, n) += (norm.empty() ? 0 : item(normed.shift, n)) + (bias.data ? bias.data[n] * factor : 0);
    for (std::int64_t c = 0; c < channels_; ++c) {
      const float* from = w.data + (n * channels_ + c) * own * own;
      for (std::int64_t t = 0; t < own * own; ++t) {
        at(n, (t / own + edge) * kernel_ + t % own + edge, c) += from[t] * factor;
      }
    }
  }
}

void MergedConvolution::add_norm(const Weights& weights, const std::string& norm, double factor) {
  const FixedBatchNorm normed(weights, norm, columns_);
  for (std::int64_t n = 0; n < columns_; ++n) {
    identity(n) += item(normed.scale, n) * factor;
    item(bias_, n) += item(normed.shift, n) * factor;
  }
}

void MergedConvolution::add_identity() {
  for (std::int64_t n = 0; n < columns_; ++n) identity(n) += 1;
}

void MergedConvolution::scale(const Tensor& factors) {
  const std::int64_t filter = taps() * channels_;
  for (std::int64_t n = 0; n < columns_; ++n) {
    item(bias_, n) *= factors.data[n];
    for (std::int64_t i = 0; i < filter; ++i) item(weights_, n * filter + i) *= factors.data[n];
  }
}

Linear MergedConvolution::linear(const Context& context, Precision precision) const {
  std::vector<std::int64_t> order(static_cast<std::size_t>(channels_));
  std::iota(order.begin(), order.end(), 0);
  return linear(context, precision, order);
}

Linear MergedConvolution::linear(const Context& context, Precision precision,
                                 const std::vector<std::int64_t>& order) const {
  std::vector<float> weights, bias;
  weights.reserve(weights_.size());
  for (std::int64_t n = 0; n < columns_; ++n) {
    bias.push_back(static_cast<float>(item(bias_, n)));
    for (std::int64_t t = 0; t < taps(); ++t) {
      for (const auto c : order) weights.push_back(static_cast<float>(weight(n, t, c)));
    }
  }
  return Linear(context, precision, weights.data(), bias.data(), columns_, taps() * channels_);
}

}  // namespace torchclip::core
