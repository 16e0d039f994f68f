// Parallel convolutions that are added up, each with its own batch norm, as one convolution with a bias
// (re-parameterisation: Ding et al. 2021, RepVGG; Vasu et al. 2023, FastViT).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/item.h"
#include "linalg/packed.h"
#include "model/config/weights.h"

namespace torchclip::core {

// A batch norm with fixed statistics: x * scale + shift, for each channel.
struct FixedBatchNorm {
  std::vector<double> scale, shift;
  FixedBatchNorm() = default;
  FixedBatchNorm(const Weights& weights, const std::string& key, std::int64_t width);
};

class MergedConvolution {
 public:
  // channels: the input channels of each filter, 1 if the convolution is depthwise. kernel: odd, the largest of all.
  MergedConvolution(std::int64_t columns, std::int64_t channels, std::int64_t kernel);

  // Adds the convolution `conv`, with its bias if it has one, followed by the batch norm `norm` (empty: none). A
  // smaller kernel is placed in the middle.
  void add(const Weights& weights, const std::string& conv, const std::string& norm);
  // Adds `factor` times the batch norm of the input itself.
  void add_norm(const Weights& weights, const std::string& norm, double factor = 1);
  // Adds the input itself.
  void add_identity();
  // Multiplies what has been added so far by a factor for each column.
  void scale(const Tensor& factors);

  std::int64_t columns() const noexcept { return columns_; }
  std::int64_t kernel() const noexcept { return kernel_; }
  double weight(std::int64_t column, std::int64_t tap, std::int64_t channel) const {
    return item(weights_, (column * taps() + tap) * channels_ + channel);
  }
  double bias(std::int64_t column) const { return item(bias_, column); }

  // Returns it as a Linear layer over its taps: (line, column, channel).
  Linear linear(const Context& context, Precision precision) const;
  // Returns it for an input whose channels have another order: channel order[i] is at place i.
  Linear linear(const Context& context, Precision precision, const std::vector<std::int64_t>& order) const;

 private:
  std::int64_t taps() const { return kernel_ * kernel_; }
  double& at(std::int64_t column, std::int64_t tap, std::int64_t channel) {
    return item(weights_, (column * taps() + tap) * channels_ + channel);
  }
  // The weight by which the input itself reaches a column.
  double& identity(std::int64_t column) { return at(column, taps() / 2, channels_ == 1 ? 0 : column); }

  std::int64_t columns_, channels_, kernel_;
  std::vector<double> weights_, bias_;  // [columns, taps, channels], [columns]
};

}  // namespace torchclip::core
