// The blocks of a Transformer on a device.
#pragma once

#include <string>
#include <vector>

#include "layers.h"
#include "model/config/tower_settings.h"
#include "weight_loader.h"

namespace torchclip::cuda {

using core::BlockSettings;

// The two layers of an MLP.
struct Mlp {
  Linear up, down;
  Memory bias;  // of `up`, where the activation is a kernel of its own
  Activation activation = Activation::none;

  Mlp() = default;
  Mlp(WeightLoader& loader, const std::string& up_key, const std::string& down_key, const BlockSettings& s,
      const float* scale) {
    const std::int64_t hidden = need(loader.weights(), up_key + ".bias").rows();
    const DType number = loader.number();
    activation = s.activation;
    up = loader.layer(up_key, hidden, s.width, number);
    // The library's epilogue is GELU in its tanh form; the others are exact in a kernel.
    if (activation != Activation::gelu_tanh || number == DType::f32) {
      up.bias = nullptr;
      bias = loader.floats(need(loader.weights(), up_key + ".bias").data, hidden);
    }
    down = loader.layer(down_key, s.width, hidden, DType::f32, scale);
  }

  // x += down(activation(up(input))), x: float [rows, width].
  void run(Device& device, Workspace& workspace, const void* input, std::int64_t rows, float* x) const {
    const DType number = up.number;
    void* hidden = workspace.grow(Workspace::kHidden, rows * up.columns * size_of(number));
    multiply(device, input, rows, up, hidden, number, false, !bias);
    if (bias) {
      bias_activation(device.stream(), hidden, number, rows, up.columns, bias.get(), DType::f32, activation);
    }
    multiply(device, hidden, rows, down, x, DType::f32, true);
  }
};

// Pre-norm blocks over packed sequences.
class Transformer {
 public:
  Transformer() = default;
  Transformer(WeightLoader& loader, const std::string& prefix, const BlockSettings& settings, bool causal)
      : settings_(settings), number_(loader.number()), causal_(causal) {
    const auto& s = settings_;
    const auto& weights = loader.weights();
    const std::int64_t w = s.width;
    for (std::int64_t i = 0; i < s.layers; ++i) {
      const std::string key = prefix + ".resblocks." + std::to_string(i);
      Block b;
      b.norm1 = loader.norm(key + ".ln_1", w, s.eps);
      b.norm2 = loader.norm(key + ".ln_2", w, s.eps);
      const auto in = need(weights, key + ".attn.in_proj_weight", 3 * w, w);
      const auto bias = need(weights, key + ".attn.in_proj_bias", 3 * w, 1);
      const bool last = i + 1 == s.layers;
      b.query = loader.layer(in.data, bias.data, last ? w : 3 * w, w, number_, number_, nullptr, w, s.query_scale());
      if (last) b.key_value = loader.layer(in.data + w * w, bias.data + w, 2 * w, w, number_, number_);
      const auto scale1 = weights(key + ".ls_1.gamma"), scale2 = weights(key + ".ls_2.gamma");
      b.out = loader.layer(key + ".attn.out_proj", w, w, DType::f32, scale1.data);
      b.mlp = Mlp(loader, key + ".mlp.c_fc", key + ".mlp.c_proj", s, scale2.data);
      blocks_.push_back(std::move(b));
    }
  }

  // Through all layers in place of the workspace's stream; with packed.pooled its rows alone are computed by the last
  // layer, and are what kFew holds: float [sequences, width].
  void run(Device& device, Workspace& w, const PackedSequences& packed, float* x) const {
    const std::int64_t width = settings_.width, tokens = packed.tokens, each = size_of(number_);
    const auto stream = device.stream();
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      const Block& b = blocks_[i];
      const bool last = i + 1 == blocks_.size();
      void* input = w.grow(Workspace::kInput, tokens * width * each);
      auto* qkv = w.grow<char>(Workspace::kQkv, tokens * 3 * width * each);
      layer_norm(stream, x, width, nullptr, tokens, width, b.norm1.weights(), number_, input);
      Attention a;
      a.number = number_;
      a.heads = settings_.heads;
      a.width = width / settings_.heads;
      a.sequences = packed.sequences;
      a.query_tokens = a.key_tokens = tokens;
      a.query_starts = a.key_starts = packed.starts;
      a.most_queries = a.most_keys = packed.longest;
      a.uniform = packed.uniform;
      a.causal = causal_;
      std::int64_t rows = tokens;
      float* residual = x;
      if (!last) {
        multiply(device, input, tokens, b.query, qkv, number_);
        a.q = qkv;
        a.k = qkv + width * each;
        a.v = qkv + 2 * width * each;
        a.q_stride = a.kStride = 3 * width;
      } else {
        multiply(device, input, tokens, b.key_value, qkv, number_);
        if (packed.pooled) {
          rows = packed.sequences;
          residual = w.grow<float>(Workspace::kFew, rows * width * 4);
          gather(stream, x, packed.pooled, rows, width, residual);
          layer_norm(stream, x, width, packed.pooled, rows, width, b.norm1.weights(), number_, input);
          a.query_tokens = rows;
          a.query_starts = packed.ones;
          a.most_queries = 1;
          a.causal = false;  // a causal sequence ends with its pooled token
        }
        void* queries = w.grow(Workspace::kQueries, rows * width * each);
        multiply(device, input, rows, b.query, queries, number_);
        a.q = queries;
        a.k = qkv;
        a.v = qkv + width * each;
        a.q_stride = width;
        a.kStride = 2 * width;
      }
      multiply(device, device.attend(a), rows, b.out, residual, DType::f32, true);
      layer_norm(stream, residual, width, nullptr, rows, width, b.norm2.weights(), number_, input);
      b.mlp.run(device, w, input, rows, residual);
    }
  }

 private:
  struct Block {
    LayerNorm norm1, norm2;
    Linear query, key_value;  // in the last block apart, else `query` holds all three
    Linear out;
    Mlp mlp;
  };
  BlockSettings settings_;
  DType number_ = DType::f32;
  bool causal_ = false;
  std::vector<Block> blocks_;
};

}  // namespace torchclip::cuda
