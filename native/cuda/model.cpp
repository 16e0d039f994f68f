#include "model.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "image/resize_plan.h"
#include "model/config/tower_settings.h"

namespace torchclip::cuda {
namespace {

using core::BlockSettings;
using core::Error;
using core::round_up;
using core::TextSettings;
using core::VitSettings;
using core::Weights;

// Tokens that go through the layers together: enough for the products' full speed, few enough that copies of one pass
// hide behind the next.
constexpr std::int64_t kPassTokens = 16384;
// Passes of at most that many sequences are recorded, padded to one of a few sizes; larger ones are not held up by
// their launches.
constexpr std::int64_t kRecordedRows = 64;

// The sizes that a recorded pass comes in: 1, 2, 3, 4, 6, 8, 12, 16, 24 ...: at most half of it is padding.
std::int64_t bucket(std::int64_t n) {
  std::int64_t size = 1;
  while (size < n) size = size < 4 ? size + 1 : size % 3 == 0 ? size / 3 * 4 : size / 2 * 3;
  return size;
}

DType number_named(const std::string& precision) {
  if (precision == "fp32") return DType::f32;
  if (precision == "fp16") return DType::f16;
  if (precision == "bf16") return DType::bf16;
  throw Error(TORCHCLIP_E_ARGUMENT, "precision must be fp32, fp16 or bf16 on CUDA, not \"" + precision + "\"");
}

template <typename Convert>
void convert(const float* from, std::int64_t n, DType number, void* to, Convert&& scaled) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float x = scaled(from[i]);
    if (number == DType::f32) {
      static_cast<float*>(to)[i] = x;
    } else if (number == DType::f16) {
      static_cast<Half*>(to)[i] = from_float<Half>(x);
    } else {
      static_cast<Bf16*>(to)[i] = from_float<Bf16>(x);
    }
  }
}

// Weights to the device.
class Loader {
 public:
  Loader(Device& device, const Weights& weights, DType number) : device_(device), weights_(weights), number_(number) {}

  DType number() const { return number_; }
  const Weights& weights() const { return weights_; }

  Memory floats(const float* data, std::int64_t n) { return put(data, static_cast<std::size_t>(n) * 4); }

  Memory numbers(const float* data, std::int64_t n) {
    std::vector<char> bytes(static_cast<std::size_t>(n * size_of(number_)));
    convert(data, n, number_, bytes.data(), [](float x) { return x; });
    return put(bytes.data(), bytes.size());
  }

  // weight: [columns, inner]; bias: [columns] or null, kept as what the product writes. Column i and its bias are
  // multiplied with scale[i], or with 1 where scale is null; the first `queries` columns with query_scale.
  Layer layer(const float* weight, const float* bias, std::int64_t columns, std::int64_t inner, DType number,
              DType bias_number, const float* scale = nullptr, std::int64_t queries = 0, float query_scale = 1) {
    Layer l{nullptr, nullptr, columns, round_up(inner, 8), number, bias_number};
    std::vector<char> bytes(l.bytes(), 0), biases(static_cast<std::size_t>(columns * size_of(bias_number)));
    for (std::int64_t c = 0; c < columns; ++c) {
      const float factor = c < queries ? query_scale : scale ? scale[c] : 1.0f;
      const auto scaled = [factor](float x) { return x * factor; };
      convert(weight + c * inner, inner, number, bytes.data() + c * l.inner * size_of(number), scaled);
      if (bias) convert(bias + c, 1, bias_number, biases.data() + c * size_of(bias_number), scaled);
    }
    l.weights = put(bytes.data(), bytes.size());
    if (bias) l.bias = put(biases.data(), biases.size());
    return l;
  }

  // By name, with its bias.
  Layer layer(const std::string& key, std::int64_t columns, std::int64_t inner, DType bias_number,
              const float* scale = nullptr) {
    const auto w = need(weights_, key + ".weight", columns, inner), b = need(weights_, key + ".bias", columns, 1);
    return layer(w.data, b.data, columns, inner, number_, bias_number, scale);
  }

  // A matrix [inner, columns] that rows are multiplied with from the left, in float32; empty where there is none.
  Layer projection(const std::string& key, const std::string& bias) {
    const auto matrix = weights_(key);
    if (!matrix.data) return {};
    return layer(transposed(matrix).data(), weights_(bias).data, matrix.inner(), matrix.rows(), DType::f32, DType::f32);
  }

  NormLayer norm(const std::string& key, std::int64_t width, float eps) {
    const auto gamma = need(weights_, key + ".weight", width, 1), beta = weights_(key + ".bias");
    return {floats(gamma.data, width), beta.data ? floats(beta.data, width) : nullptr, eps};
  }

  std::uint64_t bytes() const { return bytes_; }

 private:
  Memory put(const void* data, std::size_t bytes) {
    auto memory = device_.allocate(bytes);
    device_.upload(memory.get(), data, bytes);
    bytes_ += bytes;
    return memory;
  }

  Device& device_;
  const Weights& weights_;
  DType number_;
  std::uint64_t bytes_ = 0;
};

void multiply(Device& device, const void* a, std::int64_t rows, const Layer& layer, void* out, DType out_number,
              bool accumulate = false, bool gelu_tanh = false) {
  Product p;
  p.a = a;
  p.rows = rows;
  p.inner = layer.inner;
  p.weights = layer.weights.get();
  p.columns = layer.columns;
  p.number = layer.number;
  p.bias = layer.bias.get();
  p.out = out;
  p.stride = layer.columns;
  p.out_number = out_number;
  p.accumulate = accumulate;
  p.gelu_tanh = gelu_tanh;
  device.multiply(p);
}

// The two layers of an MLP.
struct Mlp {
  Layer up, down;
  Memory bias;  // of `up`, where the activation is a kernel of its own
  Activation activation = Activation::none;

  Mlp() = default;
  Mlp(Loader& loader, const std::string& up_key, const std::string& down_key, const BlockSettings& s,
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

class Stack {
 public:
  Stack() = default;
  Stack(Loader& loader, const std::string& prefix, const BlockSettings& settings, bool causal)
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
  void run(Device& device, Workspace& w, const Packed& packed, float* x) const {
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
    NormLayer norm1, norm2;
    Layer query, key_value;  // in the last block apart, else `query` holds all three
    Layer out;
    Mlp mlp;
  };
  BlockSettings settings_;
  DType number_ = DType::f32;
  bool causal_ = false;
  std::vector<Block> blocks_;
};

// Norm (if any) and projection (if any) of pooled rows, to `out`.
void project(Device& device, Workspace& workspace, const NormLayer* norm, const Layer& projection, const float* rows,
             std::int64_t count, std::int64_t width, float* out) {
  float* to = projection.columns ? workspace.grow<float>(Workspace::kEmbedded, count * width * 4) : out;
  layer_norm(device.stream(), rows, width, nullptr, count, width, norm ? norm->weights() : NormWeights{}, DType::f32,
             to);
  if (projection.columns) multiply(device, to, count, projection, out, DType::f32);
}

class ImageSide {
 public:
  ImageSide(Device& device, Workspace& workspace, Loader& loader, const VitSettings& settings,
            const core::PixelTable& table)
      : device_(device),
        w_(workspace),
        settings_(settings),
        number_(loader.number()),
        blocks_(loader, "visual.transformer", settings, false) {
    const auto& s = settings_;
    auto e = core::vit_embedding(s, loader.weights());
    patches_ = loader.layer(e.patches.data, nullptr, s.width, s.patch_inner(), number_, DType::f32);
    positions_ = loader.floats(e.positions.data(), s.patches() * s.width);
    if (s.class_token) class_row_ = loader.floats(e.class_row.data(), s.width);
    table_ = loader.floats(&table.value[0][0], 3 * 256);
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
          loader.layer(in.data + s.width * s.width, bias.data + s.width, 2 * s.width, s.width, number_, number_);
      map_out_ = loader.layer(key + ".out_proj", s.width, s.width, DType::f32);
      map_norm_ = loader.norm(key + ".norm", s.width, s.eps);
      map_mlp_ = Mlp(loader, key + ".mlp.fc1", key + ".mlp.fc2", s, nullptr);
    }
  }

  std::int64_t pixels() const { return settings_.bytes(); }  // bytes of a image
  std::int64_t pass_rows() const { return std::max<std::int64_t>(1, kPassTokens / settings_.length()); }

  // Room for the starts of that many sequences; the device's recorded passes are forgotten where it moves.
  void reserve(std::int64_t rows) {
    if (rows <= reserved_) return;
    const std::int64_t length = settings_.length();
    std::vector<std::int32_t> host(static_cast<std::size_t>(2 * (rows + 1)));
    for (std::int64_t r = 0; r <= rows; ++r) {
      host[r] = static_cast<std::int32_t>(r * length);
      host[rows + 1 + r] = static_cast<std::int32_t>(r);
    }
    device_.forget_passes();
    starts_ = device_.allocate(host.size() * 4);
    device_.upload(starts_.get(), host.data(), host.size() * 4);
    reserved_ = rows;
  }

  // pixels: uint8 [rows, size, size, 3] and out: float [rows, embed_dim], both on the device.
  void pass(const std::uint8_t* pixels, std::int64_t rows, float* out) {
    const auto& s = settings_;
    const auto stream = device_.stream();
    const std::int64_t width = s.width, count = rows * s.patches(), tokens = rows * s.length();
    void* input = w_.grow(Workspace::kInput, std::max(count * patches_.inner, tokens * width) * size_of(number_));
    auto* embedded = w_.grow<float>(Workspace::kEmbedded, count * width * 4);
    auto* x = w_.grow<float>(Workspace::kStream, tokens * width * 4);
    patches(stream, pixels, rows, s.size, s.patch, patches_.inner, static_cast<float*>(table_.get()), number_, input);
    multiply(device_, input, count, patches_, embedded, DType::f32);
    assemble(stream, embedded, static_cast<float*>(positions_.get()), static_cast<float*>(class_row_.get()), rows,
             s.patches(), width, s.pre_norm ? pre_norm_.weights() : NormWeights{}, x);
    Packed packed{rows, tokens, s.length(), true, static_cast<std::int32_t*>(starts_.get()), nullptr, nullptr};
    packed.ones = packed.starts + reserved_ + 1;
    if (s.pool == VitSettings::Pool::token) packed.pooled = packed.starts;
    blocks_.run(device_, w_, packed, x);
    auto* few = w_.grow<float>(Workspace::kFew, rows * width * 4);
    if (s.pool == VitSettings::Pool::token) {
      return project(device_, w_, &final_norm_, projection_, few, rows, width, out);
    }
    const bool before = s.pool == VitSettings::Pool::map || !s.norm_after_pool;
    if (s.pool == VitSettings::Pool::map) {
      pool_map(packed, x, few);
    } else {
      if (before) layer_norm(stream, x, width, nullptr, tokens, width, final_norm_.weights(), DType::f32, x);
      average(stream, x, rows, s.length(), s.length() - s.patches(), width, few);
    }
    project(device_, w_, before ? nullptr : &final_norm_, projection_, few, rows, width, out);
  }

 private:
  void pool_map(const Packed& packed, const float* x, float* few) {
    const auto stream = device_.stream();
    const std::int64_t width = settings_.width, rows = packed.sequences, tokens = packed.tokens,
                       each = size_of(number_);
    void* input = w_.grow(Workspace::kInput, tokens * width * each);
    auto* kv = w_.grow<char>(Workspace::kQkv, tokens * 2 * width * each);
    void* queries = w_.grow(Workspace::kQueries, rows * width * each);
    layer_norm(stream, x, width, nullptr, tokens, width, final_norm_.weights(), number_, input);
    multiply(device_, input, tokens, map_key_value_, kv, number_);
    layer_norm(stream, static_cast<float*>(map_query_.get()), 0, nullptr, rows, width, {}, number_, queries);
    Attention a;
    a.q = queries;
    a.k = kv;
    a.v = kv + width * each;
    a.q_stride = width;
    a.kStride = 2 * width;
    a.number = number_;
    a.heads = settings_.pool_heads;
    a.width = width / settings_.pool_heads;
    a.sequences = a.query_tokens = rows;
    a.key_tokens = tokens;
    a.query_starts = packed.ones;
    a.key_starts = packed.starts;
    a.most_queries = 1;
    a.most_keys = packed.longest;
    a.uniform = true;
    multiply(device_, device_.attend(a), rows, map_out_, few, DType::f32);
    layer_norm(stream, few, width, nullptr, rows, width, map_norm_.weights(), number_, input);
    map_mlp_.run(device_, w_, input, rows, few);
  }

  Device& device_;
  Workspace& w_;
  VitSettings settings_;
  DType number_;
  Stack blocks_;
  Layer patches_, projection_, map_key_value_, map_out_;
  Memory positions_, class_row_, table_, map_query_, starts_;
  NormLayer pre_norm_, final_norm_, map_norm_;
  Mlp map_mlp_;
  std::int64_t reserved_ = 0;
};

// A batch of texts as a pass takes it: int32 [ids, places, starts, pooled, ones].
struct PackedTexts {
  std::int64_t rows = 0, tokens = 0;  // what the pass computes, padding included
  std::vector<std::int32_t> data;
};

class TextSide {
 public:
  TextSide(Device& device, Workspace& workspace, Loader& loader, const TextSettings& settings, std::int64_t context)
      : device_(device),
        w_(workspace),
        settings_(settings),
        number_(loader.number()),
        context_(context),
        blocks_(loader, "text.transformer", settings, settings.causal) {
    const auto tokens = need(loader.weights(), "text.token_embedding.weight");
    const auto positions = need(loader.weights(), "text.positional_embedding");
    tokens_ = loader.numbers(tokens.data, tokens.rows() * tokens.inner());
    positions_ = loader.floats(positions.data, positions.rows() * positions.inner());
    norm_ = loader.norm("text.ln_final", settings.width, settings.eps);
    projection_ = loader.projection("text.text_projection", "text.text_projection_bias");
  }

  // An id that makes its place the pooled one, in a row of ones.
  std::int32_t end_id() const { return settings_.pool == TextSettings::Pool::eos ? settings_.end_id : 2; }

  // The rows that fit into one pass: at least one.
  PackedTexts pack(const std::int32_t* ids, std::int64_t rows, std::int64_t length, std::int64_t most_rows,
                   std::int64_t& taken) const {
    std::vector<std::int64_t> pooled, lengths;
    std::int64_t tokens = 0;
    for (taken = 0; taken < std::min(rows, most_rows) && (taken == 0 || tokens < kPassTokens); ++taken) {
      pooled.push_back(settings_.pooled_position(ids + taken * length, length));
      lengths.push_back(settings_.causal ? pooled.back() + 1 : length);
      tokens += lengths.back();
    }
    PackedTexts p;
    const bool recorded = taken <= kRecordedRows;
    p.rows = recorded ? bucket(taken) : taken;
    p.tokens = recorded ? std::max<std::int64_t>(16, bucket(tokens)) : tokens;
    p.data.assign(static_cast<std::size_t>(2 * p.tokens + 3 * p.rows + 2), 0);
    auto *id = p.data.data(), *place = id + p.tokens, *starts = place + p.tokens, *last = starts + p.rows + 1;
    auto* ones = last + p.rows;
    std::int32_t at = 0;
    for (std::int64_t r = 0; r < p.rows; ++r) {
      starts[r] = at;
      ones[r + 1] = static_cast<std::int32_t>(r + 1);
      if (r >= taken) continue;  // an empty sequence
      last[r] = at + static_cast<std::int32_t>(pooled[r]);
      for (std::int64_t i = 0; i < lengths[r]; ++i, ++at) {
        id[at] = ids[r * length + i];
        place[at] = static_cast<std::int32_t>(i);
      }
    }
    starts[p.rows] = at;
    return p;
  }

  void pass(const std::int32_t* data, std::int64_t rows, std::int64_t tokens, float* out) {
    const std::int64_t width = settings_.width;
    auto* x = w_.grow<float>(Workspace::kStream, tokens * width * 4);
    embed_tokens(device_.stream(), data, data + tokens, tokens, tokens_.get(), number_,
                 static_cast<float*>(positions_.get()), width, x);
    Packed packed{rows, tokens, context_, false, data + 2 * tokens, nullptr, nullptr};
    packed.pooled = packed.starts + rows + 1;
    packed.ones = packed.pooled + rows;
    blocks_.run(device_, w_, packed, x);
    project(device_, w_, &norm_, projection_, w_.grow<float>(Workspace::kFew, rows * width * 4), rows, width, out);
  }

 private:
  Device& device_;
  Workspace& w_;
  TextSettings settings_;
  DType number_;
  std::int64_t context_;
  Stack blocks_;
  Memory tokens_, positions_;
  NormLayer norm_;
  Layer projection_;
};

bool out_of_memory() { return core::current_failure().status == TORCHCLIP_E_OUT_OF_MEMORY; }

class Model final : public core::GpuModel {
 public:
  Model(std::unique_ptr<Device> device, const core::GpuModelSource& source)
      : device_(std::move(device)),
        workspace_(*device_),
        transform_(source.transform),
        precision_(source.precision),
        dim_(source.embed_dim),
        deterministic_(source.deterministic) {
    Loader loader(*device_, source.weights, number_named(source.precision));
    if (const auto s = VitSettings::of(source.config["image"]);
        s && fits(*s) && s->stem.empty() && s->pool != VitSettings::Pool::queries &&
        (s->pool != VitSettings::Pool::map || fits(s->width, s->pool_heads))) {
      images_ = std::make_unique<ImageSide>(*device_, workspace_, loader, *s, source.pixels);
    }
    if (const auto s = TextSettings::of(source.config["text"]); s && fits(*s) && !s->appended_token) {
      texts_ = std::make_unique<TextSide>(*device_, workspace_, loader, *s, source.context_length);
    }
    weight_bytes_ = loader.bytes();
  }

  bool has_images() const override { return images_ != nullptr; }
  bool has_texts() const override { return texts_ != nullptr; }
  std::string name() const override { return precision_ + " (" + device_->name() + ")"; }
  core::MemoryUse memory() const override { return {weight_bytes_, workspace_.bytes()}; }

  void encode_pixels(const std::uint8_t* pixels, std::int64_t rows, float* out, Cancel cancel) override {
    const std::int64_t bytes = images_->pixels();
    passes(rows, images_->pass_rows(), cancel, [&](int slot, std::int64_t begin, std::int64_t count) {
      const auto* on =
          static_cast<std::uint8_t*>(device_->upload_room(slot, static_cast<std::size_t>(padded(count) * bytes)));
      device_->upload_ahead(slot, pixels + begin * bytes, static_cast<std::size_t>(count * bytes));
      image_pass(slot, on, count, out + begin * dim_);
      return count;
    });
  }

  void encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int64_t length, float* out,
                     Cancel cancel) override {
    passes(rows, rows, cancel, [&](int slot, std::int64_t begin, std::int64_t most) {
      std::int64_t taken = 0;
      const auto packed = texts_->pack(ids + begin * length, rows - begin, length, most, taken);
      const auto* on = static_cast<std::int32_t*>(device_->upload_room(slot, packed.data.size() * 4));
      device_->upload_ahead(slot, packed.data.data(), packed.data.size() * 4);
      auto* result = result_of(slot, packed.rows);
      device_->begin_pass(slot);
      text_run(on, packed, result);
      device_->end_pass(slot, out + begin * dim_, result, static_cast<std::size_t>(taken * dim_) * 4);
      return taken;
    });
  }

  void encode_images(const core::ImageInput* images, std::int64_t count, float* out, std::uint8_t* failed,
                     Cancel cancel) override;

  double time_images(std::int64_t rows, int repeats) override {
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(rows * images_->pixels()), 128);
    const auto memory = device_->allocate(pixels.size());
    device_->upload(memory.get(), pixels.data(), pixels.size());
    const std::int64_t most = images_->pass_rows(), passes = (rows + most - 1) / most;
    images_->reserve(bucket(most));
    auto* result = result_of(0, rows);
    return device_->time(repeats, [&] {
      for (std::int64_t i = 0; i < passes; ++i) {
        const std::int64_t begin = i * rows / passes, end = (i + 1) * rows / passes;
        const auto* from = static_cast<std::uint8_t*>(memory.get()) + begin * images_->pixels();
        image_run(from, end - begin, result + begin * dim_);
      }
    });
  }

  double time_texts(std::int64_t rows, std::int64_t length, int repeats) override {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(rows * length), 1);
    for (std::int64_t r = 0; r < rows; ++r) ids[(r + 1) * length - 1] = texts_->end_id();
    std::vector<PackedTexts> packed;
    std::vector<Memory> memory;
    for (std::int64_t begin = 0, taken = 0; begin < rows; begin += taken) {
      packed.push_back(texts_->pack(ids.data() + begin * length, rows - begin, length, rows, taken));
      const auto& data = packed.back().data;
      memory.push_back(device_->allocate(data.size() * 4));
      device_->upload(memory.back().get(), data.data(), data.size() * 4);
    }
    return device_->time(repeats, [&] {
      for (std::size_t i = 0; i < packed.size(); ++i) {
        text_run(static_cast<std::int32_t*>(memory[i].get()), packed[i], result_of(0, packed[i].rows));
      }
    });
  }

 private:
  // What the attention kernels take, in every number: heads of a multiple of 8, at most 256 wide.
  static bool fits(std::int64_t width, std::int64_t heads) {
    return heads > 0 && width % heads == 0 && width / heads % 8 == 0 && width / heads <= 256;
  }
  static bool fits(const BlockSettings& s) { return fits(s.width, s.heads) && s.mlp_width % 8 == 0; }

  static std::string key(const void* input, std::int64_t rows, const void* result) {
    const auto number = [](const void* p) { return std::to_string(reinterpret_cast<std::uintptr_t>(p)); };
    return number(input) + " " + std::to_string(rows) + " " + number(result);
  }

  float* result_of(int slot, std::int64_t rows) {
    auto& [memory, bytes] = results_[slot];
    const auto needed = static_cast<std::size_t>(rows * dim_) * 4;
    if (needed > bytes) {
      device_->forget_passes();
      memory = device_->allocate(needed);
      bytes = needed;
    }
    return static_cast<float*>(memory.get());
  }

  static std::int64_t padded(std::int64_t rows) { return rows <= kRecordedRows ? bucket(rows) : rows; }

  void text_run(const std::int32_t* data, const PackedTexts& texts, float* result) {
    const auto pass = [&] { texts_->pass(data, texts.rows, texts.tokens, result); };
    if (texts.rows > kRecordedRows) return pass();
    device_->run("text " + key(data, texts.rows, result) + " " + std::to_string(texts.tokens), pass);
  }

  // Recorded where it is small: then `pixels` must have room for bucket(rows) images.
  void image_run(const std::uint8_t* pixels, std::int64_t rows, float* result) {
    if (rows != padded(rows) || rows > kRecordedRows) return images_->pass(pixels, rows, result);
    device_->run("image " + key(pixels, rows, result), [&] { images_->pass(pixels, rows, result); });
  }

  void image_pass(int slot, const std::uint8_t* pixels, std::int64_t count, float* out) {
    const std::int64_t rows = padded(count);
    images_->reserve(bucket(std::max(rows, images_->pass_rows())));
    auto* result = result_of(slot, rows);
    device_->begin_pass(slot);
    image_run(pixels, rows, result);
    device_->end_pass(slot, out, result, static_cast<std::size_t>(count * dim_) * 4);
  }

  // Calls pass(slot, first row, rows at most), which starts work and returns the rows taken, until all are done. Out of
  // memory: what is cached is freed, the pass halved and tried again.
  template <typename Pass>
  void passes(std::int64_t rows, std::int64_t most, Cancel cancel, Pass&& pass) {
    if (deterministic_) most = 1;
    int slot = 0;
    for (std::int64_t done = 0; done < rows;) {
      // Of nearly the same size.
      const std::int64_t left = rows - done, parts = (left + most - 1) / most;
      const std::int64_t count = (left + parts - 1) / parts;
      try {
        core::check_cancel(cancel);
        device_->finish(slot);
        done += pass(slot, done, count);
        slot = (slot + 1) % Device::kSlots;
      } catch (...) {
        for (int s = 0; s < Device::kSlots; ++s) device_->finish((slot + s) % Device::kSlots);
        if (!out_of_memory()) throw;
        workspace_.release();
        device_->free_cache();
        if (count == 1) throw;
        most = (count + 1) / 2;
      }
    }
    for (int s = 0; s < Device::kSlots; ++s) device_->finish((slot + s) % Device::kSlots);
  }

  std::unique_ptr<Device> device_;
  Workspace workspace_;
  core::Transform transform_;
  std::string precision_;
  std::int64_t dim_;
  bool deterministic_;
  std::unique_ptr<ImageSide> images_;
  std::unique_ptr<TextSide> texts_;
  std::uint64_t weight_bytes_ = 0;
  struct Result {
    Memory memory;
    std::size_t bytes = 0;
  } results_[Device::kSlots];
};

// What one call of encode_images sends: the images, their tables, the jobs that point into them.
class ImageBatch {
 public:
  // on_device: where the image's pixels will lie, null: they are sent.
  void add(const core::Image& image, const core::Transform& transform, const std::uint8_t* on_device) {
    const auto plan = core::plan_resize(image.width, image.height, image.channels, transform);
    Item item;
    item.shape = plan.shape;
    item.on_device = on_device;
    item.image =
        on_device ? 0 : put(image.pixels, static_cast<std::size_t>(image.width) * image.height * image.channels);
    item.x_taps = put(plan.x_taps.data(), plan.x_taps.size() * sizeof plan.x_taps[0]);
    item.y_taps = put(plan.y_taps.data(), plan.y_taps.size() * sizeof plan.y_taps[0]);
    item.x_weights = put(plan.x_weights.data(), plan.x_weights.size() * 4);
    item.y_weights = put(plan.y_weights.data(), plan.y_weights.size() * 4);
    item.between = between_;
    between_ += round_up(plan.shape.between_bytes(), 256);
    const std::int64_t out_bytes = static_cast<std::int64_t>(plan.shape.out_width) * plan.shape.out_height * 3;
    most_ = std::max({most_, plan.shape.between_bytes(), out_bytes});
    items_.push_back(item);
  }

  std::size_t bytes() const { return data_.size(); }
  std::int64_t between_bytes() const { return between_; }
  std::int64_t most() const { return most_; }
  std::int64_t jobs_offset() const { return jobs_; }

  // The jobs, once it is known where the bytes will lie.
  void end(const char* base, std::uint8_t* between, std::uint8_t* out) {
    std::vector<ResizeJob> jobs;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      const auto& t = items_[i];
      const std::int64_t plane = static_cast<std::int64_t>(t.shape.size) * t.shape.size * 3;
      const auto* sent = reinterpret_cast<const std::uint8_t*>(base + t.image);
      jobs.push_back({t.on_device ? t.on_device : sent, between + t.between, out + static_cast<std::int64_t>(i) * plane,
                      reinterpret_cast<const core::Taps*>(base + t.x_taps),
                      reinterpret_cast<const core::Taps*>(base + t.y_taps),
                      reinterpret_cast<const std::int32_t*>(base + t.x_weights),
                      reinterpret_cast<const std::int32_t*>(base + t.y_weights), t.shape});
    }
    std::memcpy(data_.data() + jobs_, jobs.data(), jobs.size() * sizeof jobs[0]);
  }
  // Before end(): room for the jobs.
  void close() { jobs_ = put(nullptr, items_.size() * sizeof(ResizeJob)); }
  const char* data() const { return data_.data(); }

 private:
  struct Item {
    core::ResizeShape shape;
    const std::uint8_t* on_device;
    std::int64_t image, x_taps, y_taps, x_weights, y_weights, between;
  };
  std::int64_t put(const void* from, std::size_t bytes) {
    const auto at = static_cast<std::int64_t>(data_.size());
    data_.resize(data_.size() + static_cast<std::size_t>(round_up(static_cast<std::int64_t>(bytes), 16)));
    if (from) std::memcpy(data_.data() + at, from, bytes);
    return at;
  }
  std::vector<char> data_;
  std::vector<Item> items_;
  std::int64_t between_ = 0, most_ = 0, jobs_ = 0;
};

void Model::encode_images(const core::ImageInput* images, std::int64_t count, float* out, std::uint8_t* failed,
                          Cancel cancel) {
  const std::int64_t bytes = images_->pixels();
  static constexpr std::uint8_t kBlank[3] = {};  // in the place of what is not decoded
  passes(count, images_->pass_rows(), cancel, [&](int slot, std::int64_t begin, std::int64_t rows) {
    // What the device decodes first: it is resized with the rest.
    std::vector<JpegJob> jobs;
    std::vector<std::int64_t> job_of(static_cast<std::size_t>(rows), -1);
    std::vector<std::int64_t> offsets;
    std::int64_t decoded = 0;
    for (std::int64_t i = 0; i < rows; ++i) {
      const auto& p = images[begin + i];
      if (!p.encoded) continue;
      JpegJob job{p.image.pixels, p.encoded, 0, 0, nullptr};
      if (!device_->jpeg_size(job.data, job.bytes, job.width, job.height)) continue;
      job_of[i] = static_cast<std::int64_t>(jobs.size());
      offsets.push_back(decoded);
      decoded += round_up(std::int64_t{3} * job.width * job.height, 256);
      jobs.push_back(job);
    }
    if (!jobs.empty()) {
      auto* room = workspace_.grow<std::uint8_t>(Workspace::kDecoded, decoded);
      for (std::size_t j = 0; j < jobs.size(); ++j) jobs[j].out = room + offsets[j];
      device_->decode_jpegs(jobs.data(), static_cast<std::int64_t>(jobs.size()));
    }
    ImageBatch batch;
    for (std::int64_t i = 0; i < rows; ++i) {
      const auto& p = images[begin + i];
      const auto* job = job_of[i] >= 0 ? &jobs[job_of[i]] : nullptr;
      if (!p.encoded) {
        batch.add(p.image, transform_, nullptr);
      } else if (job && job->done) {
        batch.add({nullptr, job->width, job->height, 3}, transform_, job->out);
      } else {
        failed[begin + i] = 1;
        batch.add({kBlank, 1, 1, 3}, transform_, nullptr);
      }
    }
    batch.close();
    auto* pixels = workspace_.grow<std::uint8_t>(Workspace::kPixels, padded(rows) * bytes);
    auto* between = workspace_.grow<std::uint8_t>(Workspace::kBetween, batch.between_bytes());
    auto* base = static_cast<char*>(device_->upload_room(slot, batch.bytes()));
    batch.end(base, between, pixels);
    device_->upload_ahead(slot, batch.data(), batch.bytes());
    device_->begin_pass(slot);
    device_->fill(pixels, transform_.fill, static_cast<std::size_t>(rows * bytes));
    resize(device_->stream(), reinterpret_cast<const ResizeJob*>(base + batch.jobs_offset()), rows, batch.most());
    image_pass(slot, pixels, rows, out + begin * dim_);
    return rows;
  });
}

}  // namespace

std::size_t Workspace::bytes() const {
  std::size_t n = 0;
  for (const auto& part : parts_) n += part.bytes;
  return n;
}

void Workspace::release() noexcept {
  device_.forget_passes();
  for (auto& part : parts_) part = {};
}

void* Workspace::grown(Name name, std::size_t bytes) {
  auto& part = parts_[name];
  if (bytes > part.bytes) {
    device_.forget_passes();
    part = {};  // before the new memory is asked for
    part.memory = device_.allocate(bytes);
    part.bytes = bytes;
  }
  return part.memory.get();
}

std::unique_ptr<core::GpuModel> make_model(std::unique_ptr<Device> device, const core::GpuModelSource& source) {
  return std::make_unique<Model>(std::move(device), source);
}

}  // namespace torchclip::cuda
