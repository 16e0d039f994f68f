// The Transformer stack that CLIP's towers share, over sequences of any lengths packed one after another.
#pragma once

#include <string>

#include "model/fast/packed.h"
#include "model/fast/settings.h"
#include "runtime/cancel.h"

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
  Buffer qkv;      // float [tokens, 3 width]
  Buffer mixed;    // what attention gives
  Buffer hidden;   // between the two layers of the MLP
  Buffer few;      // rows of the pooled tokens
  Buffer scratch;  // of attention, for each task
  Buffer scales, sums;
  std::size_t bytes() const;
};

struct Sequences {
  std::vector<std::int64_t> starts;  // of each sequence, and the number of tokens at the end
  std::vector<char> blind;           // causal alone; empty, or 1 where a sequence's last token does not see itself
  std::int64_t count() const { return static_cast<std::int64_t>(starts.size()) - 1; }
  std::int64_t tokens() const { return starts.back(); }
};

class Transformer {
 public:
  Transformer() = default;
  // `layers`: what the names of the layers' weights begin with, before their number.
  Transformer(const Context& context, Type type, const Weights& weights, const std::string& layers,
              const BlockSettings& settings, bool causal);

  // Through all layers in place of workspace.x. With `pooled` (a row of x for each sequence) the last layer computes
  // these rows alone, and they are what workspace.few holds afterwards: float [sequences, width].
  void run(const Context& context, Workspace& workspace, const Sequences& sequences, const std::int64_t* pooled,
           Cancel cancel) const;

  std::int64_t width() const noexcept { return width_; }
  std::size_t bytes() const;

 private:
  struct Block {
    Norm norm1, norm2;
    Linear query, keyValue;  // in the last block apart, else `query` holds all three
    Linear out, up, down;
  };
  void attend(const Context& context, Workspace& workspace, const Sequences& sequences, const std::int64_t* pooled,
              const float* queries, std::int64_t query_stride, const float* keys, std::int64_t key_stride, void* out,
              Type out_type) const;
  void feed_forward(const Context& context, Workspace& workspace, const Block& block, float* x,
                    std::int64_t rows) const;

  Type type_ = Type::f32;
  std::int64_t width_ = 0, heads_ = 0, mlp_ = 0;
  bool causal_ = false, normsAfter_ = false;
  Activation activation_ = Activation::none;
  std::vector<Block> blocks_;
};

// One query for each of `rows` sequences of `length` tokens, in all heads: out float [rows, width]. queries: float
// [rows, width], row stride query_stride (0: the same for all), already scaled; key_values: float [rows * length, 2
// width].
void attend_once(const Context& context, Workspace& workspace, const float* queries, std::int64_t query_stride,
                 const float* key_values, std::int64_t rows, std::int64_t length, std::int64_t width,
                 std::int64_t heads, float* out);

// Rows of float [rows, width] normalised in place.
void normalize(const Context& context, const Norm& norm, float* x, std::int64_t rows, std::int64_t width);

// Rows of float to rows of a product's input: normalised where `norm` is given.
Linear::Input convert(const Context& context, const float* x, std::int64_t stride, std::int64_t rows,
                      std::int64_t width, const Norm* norm, Type type, Workspace& workspace, Buffer& to);

}  // namespace torchclip::core
