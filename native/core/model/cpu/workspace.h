// What the steps of a forward pass share: its memory, layer norms, rows as a product takes them.
#pragma once

#include <string>

#include "linalg/packed.h"
#include "model/config/weights.h"

namespace torchclip::core {

struct Norm {
  Tensor gamma, beta;
  float eps = 1e-5f;
  Norm() = default;
  Norm(const Weights& weights, const std::string& key, float eps);
};

// What a forward pass works in: grown to the largest batch seen, then reused.
struct Workspace {
  Buffer x;        // float [tokens, width]: the residual stream
  Buffer input;    // a product's input, in its type
  Buffer qkv;      // [tokens, 3 width], float or bf16
  Buffer mixed;    // what attention gives
  Buffer hidden;   // between the two layers of the MLP
  Buffer few;      // rows of the pooled tokens
  Buffer scratch;  // of attention, for each task
  Buffer asked;    // of pooled attention: queries and mixed tokens, for each head
  Buffer scales, sums;
  std::size_t bytes() const;
};

// Rows of float [rows, width] normalised in place.
void normalize(const Context& context, const Norm& norm, float* x, std::int64_t rows, std::int64_t width);

// Rows of float to rows of a product's input: normalised where `norm` is given.
Linear::Input convert(const Context& context, const float* x, std::int64_t stride, std::int64_t rows,
                      std::int64_t width, const Norm* norm, DType type, Workspace& workspace, Buffer& to);

}  // namespace torchclip::core
