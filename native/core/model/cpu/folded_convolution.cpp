#include "model/cpu/folded_convolution.h"

#include <cmath>

#include "base/error.h"
#include "base/item.h"

namespace torchclip::core {

FoldedConvolution folded(const Weights& weights, const std::string& conv, const std::string& norm) {
  const auto w = need(weights, conv + ".weight");
  if (w.shape.size() < 2) throw Error(TORCHCLIP_E_MODEL_CORRUPT, conv + " is no convolution");
  const bool normed = !norm.empty();
  const auto of_norm = [&](const char* part) { return normed ? need(weights, norm + part, w.rows(), 1) : Tensor{}; };
  const auto gamma = of_norm(".weight"), beta = of_norm(".bias");
  const auto mean = of_norm(".running_mean"), variance = of_norm(".running_var");
  FoldedConvolution f;
  f.columns = w.rows();
  f.channels = w.shape[1];
  f.taps = w.inner() / f.channels;
  f.weights.resize(static_cast<std::size_t>(f.columns * f.taps * f.channels));
  f.bias.resize(static_cast<std::size_t>(f.columns));
  for (std::int64_t n = 0; n < f.columns; ++n) {
    const float scale = normed ? gamma.data[n] / std::sqrt(variance.data[n] + kBatchNormEps) : 1.0f;
    item(f.bias, n) = normed ? beta.data[n] - mean.data[n] * scale : 0.0f;
    for (std::int64_t c = 0; c < f.channels; ++c) {
      for (std::int64_t t = 0; t < f.taps; ++t) {
        item(f.weights, (n * f.taps + t) * f.channels + c) = w.data[(n * f.channels + c) * f.taps + t] * scale;
      }
    }
  }
  return f;
}

Linear convolution(const Context& context, Precision precision, const Weights& weights, const std::string& conv,
                   const std::string& norm) {
  const auto f = folded(weights, conv, norm);
  return Linear(context, precision, f.weights.data(), f.bias.data(), f.columns, f.taps * f.channels);
}

}  // namespace torchclip::core
