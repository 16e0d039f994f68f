// Depthwise convolutions with GELU, which halve the side of FastViT's features or end its tower.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/cpu/depthwise_convolution.h"

namespace torchclip::core {

// Squeeze-and-excitation (Hu et al. 2018): factors for the channels of an image that follow from the means of its
// pixels. The arithmetic is float32.
class SqueezeExcite {
 public:
  SqueezeExcite() = default;
  // `key`: the prefix of the names of the layers fc1 and fc2. order[i]: the channel at place i of the features.
  SqueezeExcite(const Context& context, const Weights& weights, const std::string& key,
                const std::vector<std::int64_t>& order);

  explicit operator bool() const noexcept { return static_cast<bool>(reduce_); }
  std::size_t bytes() const { return reduce_.bytes() + expand_.bytes(); }
  // Returns sigmoid(fc2(relu(fc1(means)))): f32 [images, channels], in the arena.
  Matrix gates(const Context& context, Arena& arena, const ConstMatrix& pixels, std::int64_t images) const;

 private:
  Linear reduce_, expand_;
};

// gelu(excite(conv(x))); without squeeze-and-excitation gelu(conv(x)).
class ConvGelu {
 public:
  ConvGelu() = default;
  ConvGelu(DepthwiseConvolution conv, SqueezeExcite squeeze);

  const DepthwiseConvolution& convolution() const noexcept { return conv_; }
  std::size_t bytes() const { return conv_.bytes() + squeeze_.bytes(); }
  // out: f32 or bf16 [images * side^2, columns] for the convolution's side and columns.
  void run(const Context& context, Arena& arena, const Features& in, const Matrix& out) const;

 private:
  void run_gated(const Context& context, Arena& arena, const Features& in, const Matrix& out) const;

  DepthwiseConvolution conv_;
  SqueezeExcite squeeze_;
};

}  // namespace torchclip::core
