// The block of ConvNeXt and FastViT: a depthwise convolution, then an MLP over the channels of each pixel.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/cpu/depthwise_convolution.h"
#include "model/cpu/layer_norm.h"

namespace torchclip::core {

class ConvFeedForward {
 public:
  ConvFeedForward() = default;
  // norm: after the convolution; without gamma there is none. `key`: the prefix of the names of the layers fc1 and fc2.
  // gamma: a factor for each column of the result.
  ConvFeedForward(const Context& context, Precision precision, const Weights& weights, DepthwiseConvolution conv,
                  LayerNorm norm, const std::string& key, const Tensor& gamma);

  // out = in + gamma * fc2(gelu(fc1(norm(conv(in))))), f32 of the shape of `in`, in other memory.
  void run(const Context& context, Arena& arena, const Features& in, const Matrix& out) const;
  std::size_t bytes() const { return conv_.bytes() + up_.bytes() + down_.bytes(); }

 private:
  // Both run the whole block: the first one computes a group of lines from end to end in each task, the second one each
  // layer for all lines.
  void run_grouped(const Context& context, Arena& arena, const Features& in, const Matrix& out) const;
  void run_stepwise(const Context& context, Arena& arena, const Features& in, const Matrix& out) const;
  // Whether the result of the convolution is the input of fc1 as it is.
  bool plain_input() const { return !norm_.gamma.data && up_.type() == DType::f32; }
  // Computes the input of fc1 for `count` lines from `begin` on. convolved: f32, may be the memory of `input` if that
  // is f32.
  void make_input(const Kernels& kernels, const Features& in, std::int64_t begin, std::int64_t count,
                  const Matrix& convolved, const Matrix& input) const;
  // Takes memory for the convolution of `rows` pixels for each thread.
  std::vector<Matrix> convolved_of_threads(const Context& context, Arena& arena, std::int64_t rows) const;

  DepthwiseConvolution conv_;
  LayerNorm norm_;
  Linear up_, down_;
};

}  // namespace torchclip::core
