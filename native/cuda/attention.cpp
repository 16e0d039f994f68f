#include "attention.h"

#include <ATen/ops/_efficient_attention_forward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>

#include <optional>
#include <tuple>

#include "agreement.h"
#include "event.h"
#include "gemm_plans.h"
#include "short_attention.h"

namespace torchclip::cuda {
namespace {

at::ScalarType type_of(DType n) { return n == DType::f32 ? at::kFloat : n == DType::f16 ? at::kHalf : at::kBFloat16; }

// With a device that is named, libtorch does not ask the driver for that of the address.
at::Tensor wrap(const void* data, at::IntArrayRef sizes, at::IntArrayRef strides, at::ScalarType type,
                const at::Device& device) {
  return at::for_blob(const_cast<void*>(data), sizes)
      .strides(strides)
      .options(at::TensorOptions(type).device(device))
      .target_device(device)
      .make_tensor();
}

}  // namespace

at::Tensor TorchAttention::view(const Attention& a, const void* data, std::int64_t tokens, std::int64_t each,
                                std::int64_t stride, bool flash) const {
  const auto type = type_of(a.dtype);
  if (a.uniform) {
    return wrap(data, {a.sequences, each, a.heads, a.width}, {each * stride, stride, a.width, 1}, type, device_);
  }
  if (flash) return wrap(data, {tokens, a.heads, a.width}, {stride, a.width, 1}, type, device_);
  return wrap(data, {1, tokens, a.heads, a.width}, {tokens * stride, stride, a.width, 1}, type, device_);
}

std::optional<at::Tensor> TorchAttention::starts(const Attention& a, const std::int32_t* data) const {
  if (a.uniform) return {};
  return wrap(data, {a.sequences + 1}, {1}, at::kInt, device_);
}

const void* TorchAttention::run(const Attention& a) {
  c10::InferenceMode inference;
  const bool flash = flash_ && a.dtype != DType::f32;
  const auto q = view(a, a.q, a.query_tokens, a.max_queries, a.q_stride, flash);
  const auto k = view(a, a.k, a.key_tokens, a.max_keys, a.kv_stride, flash);
  const auto v = view(a, a.v, a.key_tokens, a.max_keys, a.kv_stride, flash);
  release();
  if (flash) {
    result_ = std::get<0>(at::_flash_attention_forward(q, k, v, starts(a, a.query_starts), starts(a, a.key_starts),
                                                       a.max_queries, a.max_keys, 0.0, a.causal, false, 1.0));
  } else {
    constexpr std::int64_t kNoMask = 0, kCausalFromTopLeft = 1;  // CustomMaskType of libtorch's mem_eff_attention
    std::optional<std::int64_t> max_queries, max_keys;
    if (!a.uniform) {
      max_queries = a.max_queries;
      max_keys = a.max_keys;
    }
    result_ = std::get<0>(at::_efficient_attention_forward(q, k, v, {}, starts(a, a.query_starts),
                                                           starts(a, a.key_starts), max_queries, max_keys, 0.0,
                                                           a.causal ? kCausalFromTopLeft : kNoMask, false, 1.0));
  }
  result_ = result_.contiguous();
  return result_.const_data_ptr();
}

void GpuAttention::release() {
  torch_.release();
  short_ = nullptr;
}

const void* GpuAttention::run(const Attention& a, bool may_time) {
  if (!uses_short(a, may_time)) return torch_.run(a);
  torch_.release();
  void* out = short_result(a);
  short_attention(device_.stream(), a, out);
  return out;
}

void* GpuAttention::short_result(const Attention& a) {
  short_ = nullptr;
  short_ = device_.allocate(static_cast<std::size_t>(a.query_tokens * a.heads * a.width * size_of(a.dtype)));
  return short_.get();
}

bool GpuAttention::uses_short(const Attention& a, bool may_time) {
  if (!has_tensor_cores_ || !is_short(a)) return false;
  const Key key{a.dtype,   a.heads,  a.width,           plan_cell(a.sequences), plan_cell(a.query_tokens),
                a.uniform, a.causal, a.max_queries == 1};
  const auto at = choices_.find(key);
  if (at != choices_.end()) return at->second;
  if (!may_time) return false;
  const bool wins_here = wins(a);
  short_shapes_ += wins_here ? 1 : 0;
  return choices_.emplace(key, wins_here).first->second;
}

// Whether the kernel of short sequences gives libtorch's results, in less time.
bool GpuAttention::wins(const Attention& a) {
  constexpr int kRuns = 3;
  const auto stream = device_.stream();
  const auto milliseconds = [&](const auto& work) {
    Timer timer(stream);
    timer.begin();
    for (int i = 0; i < kRuns; ++i) work();
    return timer.end();
  };
  const void* expected = torch_.run(a);
  void* out = short_result(a);
  short_attention(stream, a, out);
  std::int32_t tokens = 0;  // of the sequences; rows behind them are padding
  device_.download(&tokens, a.query_starts + a.sequences, sizeof tokens);
  const std::int64_t numbers = std::int64_t{tokens} * a.heads * a.width;
  if (!agrees(device_, expected, out, a.dtype, numbers)) return false;
  const float by_short = milliseconds([&] { short_attention(stream, a, out); });
  return by_short < milliseconds([&] { torch_.run(a); });
}

}  // namespace torchclip::cuda
