#include "components.h"

#include <algorithm>
#include <memory>
#include <string>

#include "passes.h"

namespace torchclip::gpu_check {
namespace {

core::Activation activation_of(const Shape& s) {
  return std::string(s.activation) == "gelu" ? core::Activation::gelu : core::Activation::quick_gelu;
}

std::int64_t grid_of(const Shape& s) { return s.size / s.patch; }

// Zeros, which are valid numbers of tokens and places.
cuda::Memory zeros(cuda::Device& device, std::int64_t bytes) {
  auto memory = device.allocate(static_cast<std::size_t>(bytes));
  device.fill(memory.get(), 0, static_cast<std::size_t>(bytes));
  return memory;
}

}  // namespace

TowerSize image_size_of(const Shape& s) {
  const std::int64_t length = grid_of(s) * grid_of(s) + 1;
  return {s.width, s.layers, s.heads, s.embed, length, length, false, activation_of(s)};
}

TowerSize text_size_of(const Shape& s) {
  return {s.text_width, s.text_layers, s.text_heads, s.embed, kTextLength, kContext, true, activation_of(s)};
}

Components::Components(const TowerSize& size, cuda::Device& device, std::int64_t rows)
    : s_(size),
      device_(device),
      rows_(rows > 0 ? rows : std::max<std::int64_t>(1, cuda::pass_tokens(device) / s_.length)),
      tokens_(rows_ * s_.length),
      hidden_(4 * s_.width),
      floats_(values(DType::f32, tokens_ * s_.width)),
      weights_(values(DType::f32, hidden_)),
      narrow_(values(DType::bf16, tokens_ * hidden_)),
      delta_(values(DType::bf16, tokens_ * s_.width)),
      wide_(values(DType::bf16, tokens_ * hidden_)),
      quantized_(values(DType::e4m3, tokens_ * hidden_)),
      starts_(device.allocate(static_cast<std::size_t>(2 * (rows_ + 1)) * 4)) {
  std::vector<std::int32_t> starts, ones;
  for (std::int64_t r = 0; r <= rows_; ++r) {
    starts.push_back(static_cast<std::int32_t>(r * s_.length));
    ones.push_back(static_cast<std::int32_t>(r));
  }
  starts.insert(starts.end(), ones.begin(), ones.end());
  device.upload(starts_.get(), starts.data(), starts.size() * 4);
}

std::vector<Component> Components::layers() {
  const auto whole = static_cast<double>(s_.layers - 1);
  const std::int64_t w = s_.width;
  // Before the first layer there is no delta; after an attention there is one, and after an MLP there are two, where
  // the stream is written.
  return {
      norm("norm", 1, 0),
      norm("norm of 1 delta", whole, 1),
      norm("norm of 2 deltas", whole, 2),
      product("qkv", whole, tokens_, w, 3 * w, narrow_.get(), wide_.get(), DType::bf16),
      attention("attention", whole, false),
      product("out", whole, tokens_, w, w, narrow_.get(), delta_.get(), DType::bf16),
      activated(whole),
      product("down", whole, tokens_, hidden_, w, wide_.get(), delta_.get(), DType::bf16),
  };
}

std::vector<Component> Components::by_two_kernels() {
  const auto whole = static_cast<double>(s_.layers - 1);
  return {product("up", whole, tokens_, s_.width, hidden_, narrow_.get(), wide_.get(), DType::bf16),
          activation("activation", whole, tokens_)};
}

std::vector<Component> Components::fp8_layers() {
  const auto whole = static_cast<double>(s_.layers - 1);
  const std::int64_t w = s_.width;
  const cuda::NumberFormat format{DType::e4m3, 1};
  return {
      product("fp8 qkv", whole, tokens_, w, 3 * w, quantized_.get(), wide_.get(), DType::e4m3),
      product("fp8 out", whole, tokens_, w, w, quantized_.get(), delta_.get(), DType::e4m3),
      product("fp8 up", whole, tokens_, w, hidden_, quantized_.get(), wide_.get(), DType::e4m3),
      product("fp8 down", whole, tokens_, hidden_, w, quantized_.get(), delta_.get(), DType::e4m3),
      {"fp8 quantize", whole, 0, static_cast<double>(tokens_ * w * (kElement + 1)),
       [=, this] { cuda::quantize(device_.stream(), narrow_.get(), tokens_ * w, format, quantized_.get()); }},
      {"fp8 activation", whole, 0, static_cast<double>(tokens_ * hidden_ * (kElement + 1)),
       [=, this] {
         cuda::bias_activation_to(device_.stream(), wide_.get(), tokens_, hidden_, static_cast<float*>(weights_.get()),
                                  s_.activation, format, quantized_.get());
       }},
  };
}

std::vector<Component> Components::last_layers() {
  const std::int64_t w = s_.width;
  return {product("last key, value", 1, tokens_, w, 2 * w, narrow_.get(), wide_.get(), DType::bf16), pooled_rows(),
          projection()};
}

cuda::Memory Components::values(DType dtype, std::int64_t count) {
  auto memory = device_.allocate(static_cast<std::size_t>(count * core::size_of(dtype)));
  cuda::fill_values(device_.stream(), dtype, count, memory.get());
  return memory;
}

Component Components::product(const char* name, double times, std::int64_t rows, std::int64_t inner,
                              std::int64_t columns, const void* a, void* out, DType dtype, DType out_dtype) {
  cuda::Linear layer{values(dtype, columns * inner), values(out_dtype, columns), columns, inner, dtype, out_dtype};
  const std::int64_t out_bytes = rows * columns * core::size_of(out_dtype);
  const std::int64_t bytes = (rows + columns) * inner * core::size_of(dtype) + out_bytes;
  return {name, times, 2.0 * static_cast<double>(rows * inner) * static_cast<double>(columns),
          static_cast<double>(bytes), [=, this] { cuda::multiply(device_, a, rows, layer, out, out_dtype); }};
}

Component Components::norm(const char* name, double times, int deltas) {
  const bool stores = deltas == 2;
  const std::int64_t each = (stores ? 2 : 1) * kFloat + (deltas + 1) * kElement;
  return {name, times, 0, static_cast<double>(tokens_ * s_.width * each), [=, this] {
            const auto* gamma = static_cast<float*>(weights_.get());
            const auto* delta = static_cast<cuda::Bf16*>(delta_.get());
            const cuda::Deltas added{deltas > 0 ? delta : nullptr, deltas > 1 ? delta : nullptr};
            cuda::add_norm(device_.stream(), stream(), added, stores, tokens_, s_.width, {gamma, gamma, 1e-5f},
                           {DType::bf16, 1}, narrow_.get());
          }};
}

// `up` and its activation as the model computes them.
Component Components::activated(double times) {
  cuda::Linear layer{values(DType::bf16, hidden_ * s_.width), nullptr, hidden_, s_.width, DType::bf16, DType::bf16};
  const std::int64_t bytes = ((tokens_ + hidden_) * s_.width + tokens_ * hidden_) * kElement;
  return {kActivated, times, 2.0 * static_cast<double>(tokens_ * s_.width) * static_cast<double>(hidden_),
          static_cast<double>(bytes), [=, this] {
            const auto gemm = cuda::product_of(narrow_.get(), tokens_, layer, wide_.get(), DType::bf16);
            device_.activated_gemm({gemm, static_cast<float*>(weights_.get()), s_.activation});
          }};
}

Component Components::activation(const char* name, double times, std::int64_t rows) {
  return {name, times, 0, static_cast<double>(rows * hidden_ * 2 * kElement), [=, this] {
            cuda::bias_activation(device_.stream(), wide_.get(), DType::bf16, rows, hidden_, weights_.get(), DType::f32,
                                  s_.activation);
          }};
}

// Of all tokens, or of one query a sequence in the last layer.
Component Components::attention(const char* name, double times, bool pooled) {
  const std::int64_t w = s_.width, queries = pooled ? rows_ : tokens_;
  const double pairs = static_cast<double>(queries * s_.length) / (s_.causal && !pooled ? 2 : 1);
  const double flops = 4 * pairs * static_cast<double>(w);
  return {name, times, flops, static_cast<double>((queries + tokens_) * 2 * w * kElement), [=, this] {
            auto* qkv = static_cast<char*>(wide_.get());
            const auto* starts = static_cast<std::int32_t*>(starts_.get());
            cuda::Attention a;
            a.q = pooled ? narrow_.get() : qkv;
            a.k = pooled ? qkv : qkv + w * kElement;
            a.v = pooled ? qkv + w * kElement : qkv + 2 * w * kElement;
            a.q_stride = pooled ? w : 3 * w;
            a.kv_stride = pooled ? 2 * w : 3 * w;
            a.dtype = DType::bf16;
            a.heads = s_.heads;
            a.width = w / s_.heads;
            a.sequences = rows_;
            a.query_tokens = queries;
            a.key_tokens = tokens_;
            a.query_starts = pooled ? starts + rows_ + 1 : starts;
            a.key_starts = starts;
            a.max_queries = pooled ? 1 : s_.longest;
            a.max_keys = s_.longest;
            a.uniform = s_.length == s_.longest;
            a.causal = s_.causal && !pooled;
            device_.attend(a);
          }};
}

// What the last layer does for the pooled rows, together.
Component Components::pooled_rows() {
  const std::int64_t w = s_.width;
  const std::vector<Component> parts{
      product("query", 1, rows_, w, w, narrow_.get(), delta_.get(), DType::bf16),
      attention("attention", 1, true),
      product("out", 1, rows_, w, w, narrow_.get(), delta_.get(), DType::bf16),
      product("up", 1, rows_, w, hidden_, narrow_.get(), wide_.get(), DType::bf16),
      activation("activation", 1, rows_),
      product("down", 1, rows_, hidden_, w, wide_.get(), delta_.get(), DType::bf16),
  };
  Component all{"last pooled rows", 1, 0, 0, nullptr};
  for (const auto& part : parts) {
    all.flops += part.flops;
    all.bytes += part.bytes;
  }
  all.work = [parts] {
    for (const auto& part : parts) part.work();
  };
  return all;
}

// The final norm, the projection in float32 and the normalisation.
Component Components::projection() {
  const auto out = values(DType::f32, rows_ * s_.embed);
  auto all = product("projection", 1, rows_, s_.width, s_.embed, stream(), out.get(), DType::f32, DType::f32);
  all.work = [=, this, multiply = all.work] {
    const auto* gamma = static_cast<float*>(weights_.get());
    cuda::layer_norm(device_.stream(), stream(), s_.width, nullptr, rows_, s_.width, {gamma, gamma, 1e-5f}, DType::f32,
                     stream());
    multiply();
    cuda::normalize(device_.stream(), static_cast<float*>(out.get()), rows_, s_.embed);
  };
  return all;
}

std::vector<Component> image_embedding(const Shape& s, Components& c) {
  auto& device = c.device();
  const std::int64_t rows = c.rows(), patches = rows * grid_of(s) * grid_of(s), tokens = c.tokens();
  const std::int64_t inner = core::round_up(3 * s.patch * s.patch, cuda::kInnerMultiple);
  const auto pixels = zeros(device, rows * s.size * s.size * 3), table = c.values(DType::f32, 768);
  const auto input = c.values(DType::bf16, patches * inner), embedded = c.values(DType::f32, patches * s.width);
  const auto positions = c.values(DType::f32, (grid_of(s) * grid_of(s) + 1) * s.width);
  return {
      {"patches", 1, 0, static_cast<double>(rows * s.size * s.size * 3 + patches * inner * kElement),
       [=, &device] {
         cuda::patches(device.stream(), static_cast<std::uint8_t*>(pixels.get()), rows, s.size, s.patch, inner,
                       static_cast<float*>(table.get()), DType::bf16, input.get());
       }},
      c.product("patch product", 1, patches, inner, s.width, input.get(), embedded.get(), DType::bf16, DType::f32),
      {"assemble", 1, 0, static_cast<double>((patches + tokens) * s.width * kFloat),
       [=, &device, &c] {
         const auto* numbers = static_cast<float*>(positions.get());
         cuda::assemble(device.stream(), static_cast<float*>(embedded.get()), numbers, numbers, rows, patches / rows,
                        s.width, {numbers, numbers, 1e-5f}, c.stream());
       }},
  };
}

std::vector<Component> text_embedding(const Shape& s, Components& c) {
  auto& device = c.device();
  const std::int64_t tokens = c.tokens();
  const auto ids = zeros(device, tokens * 4);
  const auto embedding = c.values(DType::bf16, kVocabulary * s.text_width);
  const auto positions = c.values(DType::f32, kContext * s.text_width);
  return {
      {"token embedding", 1, 0, static_cast<double>(tokens * s.text_width * (kElement + 2 * kFloat)), [=, &device, &c] {
         const auto* numbers = static_cast<std::int32_t*>(ids.get());
         cuda::embed_tokens(device.stream(), numbers, numbers, tokens, embedding.get(), DType::bf16,
                            static_cast<float*>(positions.get()), s.text_width, c.stream());
       }}};
}

}  // namespace torchclip::gpu_check
