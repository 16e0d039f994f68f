// Vision Transformers on a device.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "model/config/image_output.h"
#include "passes.h"
#include "transformer.h"

namespace torchclip::cuda {

using core::VitSettings;

class VitTower {
 public:
  // pixels: float [3, 256], what each byte of each channel becomes.
  VitTower(Device& device, Workspace& workspace, WeightLoader& loader, const VitSettings& settings, const float* pixels)
      : device_(device),
        w_(workspace),
        settings_(settings),
        dtype_(loader.dtype()),
        blocks_(loader, "visual.transformer", settings, false) {
    const auto& s = settings_;
    auto e = core::vit_embedding(s, loader.weights());
    patches_ = loader.layer(e.patches.data, nullptr, s.width, s.patch_inner(), dtype_, DType::f32, nullptr, 0, 1,
                            {1, kInnerMultiple});
    positions_ = loader.floats(e.positions.data(), s.patches() * s.width);
    if (s.class_token) class_row_ = loader.floats(e.class_row.data(), s.width);
    table_ = loader.floats(pixels, 3 * 256);
    if (s.pre_norm) pre_norm_ = loader.norm("visual.ln_pre", s.width, s.eps);
    final_norm_ = loader.norm("visual.ln_post", s.width, s.eps);
    projection_ = loader.projection("visual.proj", "visual.proj_bias");
    if (s.pool == VitSettings::Pool::map) {
      const std::string key = "visual.attn_pool";
      const auto query = core::map_query(s, loader.weights());
      map_query_ = loader.floats(query.data(), s.width);
      const auto in = need(loader.weights(), key + ".in_proj_weight", 3 * s.width, s.width);
      const auto bias = need(loader.weights(), key + ".in_proj_bias", 3 * s.width, 1);
      map_key_value_ =
          loader.layer(in.data + s.width * s.width, bias.data + s.width, 2 * s.width, s.width, dtype_, dtype_);
      map_out_ = loader.layer(key + ".out_proj", s.width, s.width, dtype_, DType::f32);
      map_norm_ = loader.norm(key + ".norm", s.width, s.eps);
      map_mlp_ = Mlp(loader, key + ".mlp.fc1", key + ".mlp.fc2", s, nullptr, dtype_);
    }
  }

  std::int64_t pixels() const { return settings_.bytes(); }  // bytes of an image
  std::int64_t size() const { return settings_.size; }       // side of an image
  std::int64_t pooled_dim() const { return settings_.width; }
  std::int64_t pass_rows() const { return std::max<std::int64_t>(1, pass_tokens(device_) / settings_.length()); }

  // Makes the starts of that many sequences; the device's captured passes are dropped if their memory moves.
  void reserve(std::int64_t rows) {
    if (rows <= reserved_) return;
    const std::int64_t length = settings_.length();
    std::vector<std::int32_t> host(static_cast<std::size_t>(2 * (rows + 1)));
    auto *starts = host.data(), *ones = starts + rows + 1;
    for (std::int64_t r = 0; r <= rows; ++r) {
      starts[r] = static_cast<std::int32_t>(r * length);
      ones[r] = static_cast<std::int32_t>(r);
    }
    device_.invalidate_graphs();
    starts_ = device_.allocate(host.size() * 4);
    device_.upload(starts_.get(), host.data(), host.size() * 4);
    reserved_ = rows;
  }

  // pixels: uint8 [rows, size, size, 3] and out: float [rows, embed_dim or pooled_dim()], both on the device.
  void pass(const std::uint8_t* pixels, std::int64_t rows, core::ImageOutput output, float* out) {
    const auto& s = settings_;
    const auto stream = device_.stream();
    const std::int64_t width = s.width, count = rows * s.patches(), tokens = rows * s.length();
    void* input = w_.grow(Workspace::kInput, std::max(count * patches_.inner, tokens * width) * size_of(dtype_));
    auto* embedded = w_.grow<float>(Workspace::kEmbedded, count * width * 4);
    auto* x = w_.grow<float>(Workspace::kStream, tokens * width * 4);
    patches(stream, pixels, rows, s.size, s.patch, patches_.inner, static_cast<float*>(table_.get()), dtype_, input);
    multiply(device_, input, count, patches_, embedded, DType::f32);
    assemble(stream, embedded, static_cast<float*>(positions_.get()), static_cast<float*>(class_row_.get()), rows,
             s.patches(), width, s.pre_norm ? pre_norm_.weights() : NormWeights{}, x);
    PackedSequences packed{rows, tokens, s.length(), true, static_cast<std::int32_t*>(starts_.get()), nullptr, nullptr};
    packed.ones = packed.starts + reserved_ + 1;
    if (s.pool == VitSettings::Pool::token) packed.pooled = packed.starts;
    blocks_.run(device_, w_, packed, x);
    auto* pooled = w_.grow<float>(Workspace::kPooled, rows * width * 4);
    const Linear none;
    const Linear& projection = output == core::ImageOutput::pooled ? none : projection_;
    if (s.pool == VitSettings::Pool::token) {
      return project(device_, w_, &final_norm_, projection, pooled, rows, width, out);
    }
    const bool before = s.pool == VitSettings::Pool::map || !s.norm_after_pool;
    if (s.pool == VitSettings::Pool::map) {
      pool_map(packed, x, pooled);
    } else {
      if (before) layer_norm(stream, x, width, nullptr, tokens, width, final_norm_.weights(), DType::f32, x);
      average(stream, x, rows, s.length(), s.length() - s.patches(), width, pooled);
    }
    project(device_, w_, before ? nullptr : &final_norm_, projection, pooled, rows, width, out);
  }

 private:
  void pool_map(const PackedSequences& packed, const float* x, float* pooled) {
    const auto stream = device_.stream();
    const std::int64_t width = settings_.width, rows = packed.sequences, tokens = packed.tokens, each = size_of(dtype_);
    void* input = w_.grow(Workspace::kInput, tokens * width * each);
    auto* kv = w_.grow<char>(Workspace::kQkv, tokens * 2 * width * each);
    void* queries = w_.grow(Workspace::kQueries, rows * width * each);
    layer_norm(stream, x, width, nullptr, tokens, width, final_norm_.weights(), dtype_, input);
    multiply(device_, input, tokens, map_key_value_, kv, dtype_);
    layer_norm(stream, static_cast<float*>(map_query_.get()), 0, nullptr, rows, width, {}, dtype_, queries);
    Attention a;
    a.q = queries;
    a.k = kv;
    a.v = kv + width * each;
    a.q_stride = width;
    a.kv_stride = 2 * width;
    a.dtype = dtype_;
    a.heads = settings_.pool_heads;
    a.width = width / settings_.pool_heads;
    a.sequences = a.query_tokens = rows;
    a.key_tokens = tokens;
    a.query_starts = packed.ones;
    a.key_starts = packed.starts;
    a.max_queries = 1;
    a.max_keys = packed.longest;
    a.uniform = true;
    multiply(device_, device_.attend(a), rows, map_out_, pooled, DType::f32);
    Residual residual(device_, w_, pooled, rows, width, dtype_);
    map_mlp_.run(device_, w_, map_norm_.weights(), residual);
    residual.settle();
  }

  Device& device_;
  Workspace& w_;
  VitSettings settings_;
  DType dtype_;
  Transformer blocks_;
  Linear patches_, projection_, map_key_value_, map_out_;
  Memory positions_, class_row_, table_, map_query_, starts_;
  LayerNorm pre_norm_, final_norm_, map_norm_;
  Mlp map_mlp_;
  std::int64_t reserved_ = 0;
};

}  // namespace torchclip::cuda
