// The shared parts of a forward pass: its memory, layer norms, and the conversion of rows to the input of a linear
// layer.
#pragma once

#include <string>

#include "linalg/packed.h"
#include "model/config/weights.h"

namespace torchclip::core {

struct LayerNorm {
  Tensor gamma, beta;
  float eps = 1e-5f;
  LayerNorm() = default;
  LayerNorm(const Weights& weights, const std::string& key, float eps);
};

// The memory of a forward pass, which grows to the largest batch so far and is then reused.
struct Workspace {
  Buffer x;        // float [tokens, width]: the residual stream
  Buffer input;    // The input of a linear layer, in its element type.
  Buffer qkv;      // [tokens, 3 width], float or bf16
  Buffer mixed;    // The result of attention.
  Buffer hidden;   // The hidden layer of the MLP.
  Buffer few;      // The rows of the pooled tokens.
  Buffer scratch;  // The scratch memory of attention, for each task.
  Buffer asked;    // Pooled attention: queries and attention results, for each head.
  Buffer scales, sums;
  std::size_t bytes() const;
};

// Normalises rows of float [rows, width] in place.
void normalize(const Context& context, const LayerNorm& norm, float* x, std::int64_t rows, std::int64_t width);

// Converts rows of float to the input of a linear layer, normalised if `norm` is not null.
Linear::Input convert(const Context& context, const float* x, std::int64_t stride, std::int64_t rows,
                      std::int64_t width, const LayerNorm* norm, DType type, Workspace& workspace, Buffer& to);

}  // namespace torchclip::core
