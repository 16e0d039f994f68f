// The blocks of a Transformer on a device.
#pragma once

#include <algorithm>
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
    const DType dtype = loader.dtype();
    activation = s.activation;
    // Columns of zeros, which every activation leaves zero, make the inner size of `down` a round one.
    up = loader.layer(up_key, hidden, s.width, dtype, nullptr, {kInnerMultiple, 8});
    // The library's epilogue is GELU in its tanh form; the others are exact in a kernel.
    if (activation != Activation::gelu_tanh || dtype == DType::f32) {
      std::vector<float> padded(static_cast<std::size_t>(up.columns), 0.0f);
      std::copy_n(need(loader.weights(), up_key + ".bias").data, hidden, padded.data());
      up.bias = nullptr;
      bias = loader.floats(padded.data(), up.columns);
    }
    down = loader.layer(down_key, s.width, hidden, DType::f32, scale, {1, kInnerMultiple});
  }

  // x += down(activation(up(input))), x: float [rows, width].
  void run(Device& device, Workspace& workspace, const void* input, std::int64_t rows, float* x) const {
    const DType dtype = up.dtype;
    void* hidden = workspace.grow(Workspace::kHidden, rows * up.columns * size_of(dtype));
    multiply(device, input, rows, up, hidden, dtype, false, !bias);
    if (bias) {
      bias_activation(device.stream(), hidden, dtype, rows, up.columns, bias.get(), DType::f32, activation);
    }
    multiply(device, hidden, rows, down, x, DType::f32, true);
  }
};

// Pre-norm blocks over packed sequences.
class Transformer {
 public:
  Transformer() = default;
  Transformer(WeightLoader& loader, const std::string& prefix, const BlockSettings& settings, bool causal)
      : settings_(settings), dtype_(loader.dtype()), causal_(causal) {
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
      b.query = loader.layer(in.data, bias.data, last ? w : 3 * w, w, dtype_, dtype_, nullptr, w, s.query_scale());
      if (last) b.key_value = loader.layer(in.data + w * w, bias.data + w, 2 * w, w, dtype_, dtype_);
      const auto scale1 = weights(key + ".ls_1.gamma"), scale2 = weights(key + ".ls_2.gamma");
      b.out = loader.layer(key + ".attn.out_proj", w, w, DType::f32, scale1.data);
      b.mlp = Mlp(loader, key + ".mlp.c_fc", key + ".mlp.c_proj", s, scale2.data);
      blocks_.push_back(std::move(b));
    }
  }

  // Runs all layers on x, the workspace's stream, in place. If packed.pooled is set, the last layer computes these rows
  // alone, to the workspace's kPooled: float [sequences, width].
  void run(Device& device, Workspace& w, const PackedSequences& packed, float* x) const {
    for (const Block& block : blocks_) {
      if (block.key_value.columns == 0) {
        run_block(device, w, packed, block, x);
      } else {
        run_last(device, w, packed, block, x);
      }
    }
  }

 private:
  struct Block {
    LayerNorm norm1, norm2;
    Linear query, key_value;  // in the last block apart, else `query` holds all three
    Linear out;
    Mlp mlp;
  };

  void run_block(Device& device, Workspace& w, const PackedSequences& packed, const Block& b, float* x) const {
    const std::int64_t width = settings_.width, tokens = packed.tokens, element = size_of(dtype_);
    void* input = w.grow(Workspace::kInput, tokens * width * element);
    auto* qkv = w.grow<char>(Workspace::kQkv, tokens * 3 * width * element);
    layer_norm(device.stream(), x, width, nullptr, tokens, width, b.norm1.weights(), dtype_, input);
    multiply(device, input, tokens, b.query, qkv, dtype_);
    Attention a = attention_over(packed);
    a.q = qkv;
    a.k = qkv + width * element;
    a.v = qkv + 2 * width * element;
    a.q_stride = a.kv_stride = 3 * width;
    add_branches(device, w, b, a, tokens, input, x);
  }

  void run_last(Device& device, Workspace& w, const PackedSequences& packed, const Block& b, float* x) const {
    const std::int64_t width = settings_.width, tokens = packed.tokens, element = size_of(dtype_);
    const auto stream = device.stream();
    void* input = w.grow(Workspace::kInput, tokens * width * element);
    auto* key_value = w.grow<char>(Workspace::kQkv, tokens * 3 * width * element);
    layer_norm(stream, x, width, nullptr, tokens, width, b.norm1.weights(), dtype_, input);
    multiply(device, input, tokens, b.key_value, key_value, dtype_);
    Attention a = attention_over(packed);
    std::int64_t rows = tokens;
    float* residual = x;
    if (packed.pooled) {
      rows = packed.sequences;
      residual = w.grow<float>(Workspace::kPooled, rows * width * 4);
      gather(stream, x, packed.pooled, rows, width, residual);
      layer_norm(stream, x, width, packed.pooled, rows, width, b.norm1.weights(), dtype_, input);
      a.query_tokens = rows;
      a.query_starts = packed.ones;
      a.max_queries = 1;
      a.causal = false;  // a causal sequence ends with its pooled token
    }
    void* queries = w.grow(Workspace::kQueries, rows * width * element);
    multiply(device, input, rows, b.query, queries, dtype_);
    a.q = queries;
    a.k = key_value;
    a.v = key_value + width * element;
    a.q_stride = width;
    a.kv_stride = 2 * width;
    add_branches(device, w, b, a, rows, input, residual);
  }

  // Self-attention over the sequences; q, k, v and their strides are left to the caller.
  Attention attention_over(const PackedSequences& packed) const {
    Attention a;
    a.dtype = dtype_;
    a.heads = settings_.heads;
    a.width = settings_.width / settings_.heads;
    a.sequences = packed.sequences;
    a.query_tokens = a.key_tokens = packed.tokens;
    a.query_starts = a.key_starts = packed.starts;
    a.max_queries = a.max_keys = packed.longest;
    a.uniform = packed.uniform;
    a.causal = causal_;
    return a;
  }

  // Adds the output of the attention and then that of the MLP to `residual`, float [rows, width]. `input` is scratch
  // memory for rows of the MLP's input.
  void add_branches(Device& device, Workspace& w, const Block& b, const Attention& a, std::int64_t rows, void* input,
                    float* residual) const {
    const std::int64_t width = settings_.width;
    multiply(device, device.attend(a), rows, b.out, residual, DType::f32, true);
    layer_norm(device.stream(), residual, width, nullptr, rows, width, b.norm2.weights(), dtype_, input);
    b.mlp.run(device, w, input, rows, residual);
  }

  BlockSettings settings_;
  DType dtype_ = DType::f32;
  bool causal_ = false;
  std::vector<Block> blocks_;
};

}  // namespace torchclip::cuda
