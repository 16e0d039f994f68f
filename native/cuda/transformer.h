// The blocks of a Transformer on a device.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "layers.h"
#include "model/config/tower_settings.h"
#include "product_input.h"
#include "residual.h"
#include "weight_loader.h"

namespace torchclip::cuda {

using core::BlockSettings;

// The two layers of an MLP.
class Mlp {
 public:
  Mlp() = default;
  // products: the type of the weights, loader.dtype() or E4M3.
  Mlp(WeightLoader& loader, const std::string& up_key, const std::string& down_key, const BlockSettings& s,
      const float* scale, DType products)
      : dtype_(loader.dtype()), activation_(s.activation) {
    const std::int64_t hidden = need(loader.weights(), up_key + ".bias").rows();
    // Columns of zeros, which every activation leaves zero, make the inner size of `down` a round one.
    up_ = loader.layer(up_key, hidden, s.width, products, dtype_, nullptr, {kInnerMultiple, 8});
    // The library's epilogue is GELU in its tanh form, for 16 bits; what is exact or E4M3 comes from a kernel.
    const bool has_epilogue = activation_ == Activation::gelu_tanh && size_of(products) == 2;
    if (!has_epilogue) {
      std::vector<float> padded(static_cast<std::size_t>(up_.columns), 0.0f);
      std::copy_n(need(loader.weights(), up_key + ".bias").data, hidden, padded.data());
      up_.bias = nullptr;
      bias_ = loader.floats(padded.data(), up_.columns);
    }
    down_ =
        loader.layer(down_key, s.width, hidden, products, Residual::branch_dtype(dtype_), scale, {1, kInnerMultiple});
  }

  // residual += down(activation(up(norm(residual)))).
  void run(Device& device, Workspace& workspace, const NormWeights& norm, Residual& residual) {
    const std::int64_t rows = residual.rows();
    const void* input = written(device, workspace, up_, Workspace::kInput, rows,
                                [&](const NumberFormat& format, void* out) { residual.normalize(norm, format, out); });
    void* hidden = workspace.grow(Workspace::kHidden, rows * up_.columns * size_of(dtype_));
    residual.add(activated(device, workspace, input, rows, hidden), down_);
  }

 private:
  // The input of `down`.
  const void* activated(Device& device, Workspace& workspace, const void* input, std::int64_t rows, void* hidden) {
    if (!bias_) {
      multiply(device, input, rows, up_, hidden, dtype_, false, true);
      return hidden;
    }
    const auto product = product_of(input, rows, up_, hidden, dtype_);
    const auto* bias = static_cast<const float*>(bias_.get());
    if (down_.dtype != DType::e4m3) {
      device.activated_gemm({product, bias, activation_});
      return hidden;
    }
    device.gemm(product);
    return written(device, workspace, down_, Workspace::kActivated, rows, [&](const NumberFormat& format, void* out) {
      bias_activation_to(device.stream(), hidden, rows, up_.columns, bias, activation_, format, out);
    });
  }

  Linear up_, down_;
  Memory bias_;  // of `up`, where the activation is a kernel of its own
  DType dtype_ = DType::f32;
  Activation activation_ = Activation::none;
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
      const auto products = loader.products();
      b.query = loader.layer(in.data, bias.data, last ? w : 3 * w, w, products, dtype_, nullptr, w, s.query_scale());
      if (last) b.key_value = loader.layer(in.data + w * w, bias.data + w, 2 * w, w, products, dtype_);
      const auto scale1 = weights(key + ".ls_1.gamma"), scale2 = weights(key + ".ls_2.gamma");
      b.out = loader.layer(key + ".attn.out_proj", w, w, products, Residual::branch_dtype(dtype_), scale1.data);
      b.mlp = Mlp(loader, key + ".mlp.c_fc", key + ".mlp.c_proj", s, scale2.data, products);
      blocks_.push_back(std::move(b));
    }
  }

  // Runs all layers on x, the workspace's stream, in place. If packed.pooled is set, the last layer computes these rows
  // alone, to the workspace's kPooled: float [sequences, width].
  void run(Device& device, Workspace& w, const PackedSequences& packed, float* x) {
    Residual residual(device, w, x, packed.tokens, settings_.width, dtype_);
    for (Block& block : blocks_) {
      if (block.key_value.columns == 0) {
        run_block(device, w, packed, block, residual);
      } else {
        run_last(device, w, packed, block, residual);
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

  // norm(residual) as the input of a layer.
  static const void* normalized(Device& device, Workspace& w, Linear& layer, const LayerNorm& norm,
                                Residual& residual) {
    return written(device, w, layer, Workspace::kInput, residual.rows(),
                   [&](const NumberFormat& format, void* out) { residual.normalize(norm.weights(), format, out); });
  }

  void run_block(Device& device, Workspace& w, const PackedSequences& packed, Block& b, Residual& residual) {
    const std::int64_t width = settings_.width, tokens = packed.tokens, element = size_of(dtype_);
    auto* qkv = w.grow<char>(Workspace::kQkv, tokens * 3 * width * element);
    multiply(device, normalized(device, w, b.query, b.norm1, residual), tokens, b.query, qkv, dtype_);
    Attention a = attention_over(packed);
    a.q = qkv;
    a.k = qkv + width * element;
    a.v = qkv + 2 * width * element;
    a.q_stride = a.kv_stride = 3 * width;
    add_branches(device, w, b, a, residual);
  }

  void run_last(Device& device, Workspace& w, const PackedSequences& packed, Block& b, Residual& residual) {
    const std::int64_t width = settings_.width, tokens = packed.tokens, element = size_of(dtype_);
    auto* key_value = w.grow<char>(Workspace::kQkv, tokens * 3 * width * element);
    const void* input = normalized(device, w, b.key_value, b.norm1, residual);
    multiply(device, input, tokens, b.key_value, key_value, dtype_);
    Attention a = attention_over(packed);
    a.k = key_value;
    a.v = key_value + width * element;
    a.q_stride = width;
    a.kv_stride = 2 * width;
    if (!packed.pooled) {
      // The input of E4M3 has the scale of another layer.
      if (b.query.dtype == DType::e4m3) input = normalized(device, w, b.query, b.norm1, residual);
      attend_last(device, w, b, a, input, residual);
      residual.settle();
      return;
    }
    const std::int64_t rows = packed.sequences;
    auto* x = w.grow<float>(Workspace::kPooled, rows * width * 4);
    gather(device.stream(), residual.settle(), packed.pooled, rows, width, x);
    a.query_tokens = rows;
    a.query_starts = packed.ones;
    a.max_queries = 1;
    a.causal = false;  // a causal sequence ends with its pooled token
    Residual pooled(device, w, x, rows, width, dtype_);
    attend_last(device, w, b, a, normalized(device, w, b.query, b.norm1, pooled), pooled);
    pooled.settle();
  }

  // The rest of the last block: `input` is that of the queries.
  void attend_last(Device& device, Workspace& w, Block& b, Attention& a, const void* input, Residual& residual) {
    void* queries = w.grow(Workspace::kQueries, residual.rows() * settings_.width * size_of(dtype_));
    multiply(device, input, residual.rows(), b.query, queries, dtype_);
    a.q = queries;
    add_branches(device, w, b, a, residual);
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

  // Adds the output of the attention and then that of the MLP.
  void add_branches(Device& device, Workspace& w, Block& b, const Attention& a, Residual& residual) {
    const void* attended = device.attend(a);
    residual.add(quantized(device, w, b.out, Workspace::kInput, residual.rows(), attended), b.out);
    b.mlp.run(device, w, b.norm2.weights(), residual);
  }

  BlockSettings settings_;
  DType dtype_ = DType::f32;
  bool causal_ = false;
  std::vector<Block> blocks_;
};

}  // namespace torchclip::cuda
