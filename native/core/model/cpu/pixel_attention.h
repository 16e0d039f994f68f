// Self-attention between the pixels of a feature map.
#pragma once

#include <cstdint>
#include <string>

#include "model/cpu/features.h"
#include "model/cpu/layer_norm.h"

namespace torchclip::core {

class PixelAttention {
 public:
  PixelAttention() = default;
  // `key`: the prefix of the names of the block's weights. batch_norm: the norm before the attention is a batch norm,
  // which becomes a part of the weights, and otherwise a layer norm over the channels.
  PixelAttention(const Context& context, Precision precision, const Weights& weights, const std::string& key,
                 bool batch_norm);

  explicit operator bool() const noexcept { return static_cast<bool>(qkv_); }
  std::size_t bytes() const { return qkv_.bytes() + out_.bytes(); }
  // x += gamma * attention(norm(x)).
  void run(const Context& context, Arena& arena, const Features& x) const;

 private:
  LayerNorm norm_;  // Without gamma there is none.
  Linear qkv_, out_;
  DType attention_type_ = DType::f32;  // Of queries, keys and values.
};

}  // namespace torchclip::core
