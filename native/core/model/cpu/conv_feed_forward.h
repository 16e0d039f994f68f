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
  // int8 quantises both linear layers. norm: after the convolution; without gamma there is none. `key`: the prefix of
  // the names of the layers fc1 and fc2. gamma: a factor for each column of the result.
  ConvFeedForward(const Context& context, Precision precision, const Weights& weights, DepthwiseConvolution conv,
                  LayerNorm norm, const std::string& key, const Tensor& gamma);

  // out = in + gamma * fc2(gelu(fc1(norm(conv(in))))), f32 of the shape of `in`, in other memory.
  void run(const Context& context, Arena& arena, const Features& in, const Matrix& out) const;
  std::size_t bytes() const { return conv_.bytes() + up_.bytes() + down_.bytes(); }

 private:
  // The rows of some pixels on their way through the block. Rows that the next layer takes as they are have one memory
  // for both.
  struct Rows {
    Matrix convolved, input;     // Before fc1: f32, and as fc1 takes them.
    Matrix activated, narrowed;  // After it: f32 or bf16, and as fc2 takes them.
    Rows first(std::int64_t rows) const;
  };
  Rows make_rows(Arena& arena, std::int64_t rows) const;

  // Both run the whole block: the first one computes a group of lines from end to end in each task, the second one each
  // layer for all lines.
  void run_grouped(const Context& context, Arena& arena, const Features& in, const Matrix& out) const;
  void run_stepwise(const Context& context, Arena& arena, const Features& in, const Matrix& out) const;
  // Computes the convolution and the norm of `count` lines from `begin` on.
  void make_input(const Kernels& kernels, const Features& in, std::int64_t begin, std::int64_t count,
                  const Rows& rows) const;

  DepthwiseConvolution conv_;
  LayerNorm norm_;
  Linear up_, down_;
};

}  // namespace torchclip::core
