// Weights on their way to the device, in the types in which the kernels read them.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "layers.h"
#include "model/config/weights.h"

namespace torchclip::cuda {

using core::round_up;
using core::Weights;

// The element type of a precision: fp32, fp16 or bf16. Throws Error(E_ARGUMENT) for another one.
inline DType dtype_named(const std::string& precision) {
  if (precision == "fp32") return DType::f32;
  if (precision == "fp16") return DType::f16;
  if (precision == "bf16") return DType::bf16;
  throw core::Error(TORCHCLIP_E_ARGUMENT, "precision must be fp32, fp16 or bf16 on CUDA, not \"" + precision + "\"");
}

template <typename Convert>
void convert(const float* from, std::int64_t n, DType dtype, void* to, Convert&& scaled) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float x = scaled(from[i]);
    if (dtype == DType::f32) {
      static_cast<float*>(to)[i] = x;
    } else if (dtype == DType::f16) {
      static_cast<Half*>(to)[i] = from_float<Half>(x);
    } else {
      static_cast<Bf16*>(to)[i] = from_float<Bf16>(x);
    }
  }
}

// Multiples that the sizes of a layer are padded to.
struct Padding {
  std::int64_t columns = 1, inner = 8;
};

// Weights to the device.
class WeightLoader {
 public:
  WeightLoader(Device& device, const Weights& weights, DType dtype)
      : device_(device), weights_(weights), dtype_(dtype) {}

  DType dtype() const { return dtype_; }
  const Weights& weights() const { return weights_; }

  Memory floats(const float* data, std::int64_t n) { return put(data, static_cast<std::size_t>(n) * 4); }

  Memory numbers(const float* data, std::int64_t n) {
    std::vector<char> bytes(static_cast<std::size_t>(n * size_of(dtype_)));
    convert(data, n, dtype_, bytes.data(), [](float x) { return x; });
    return put(bytes.data(), bytes.size());
  }

  // weight: [columns, inner]; bias: [columns] or null, kept in the type that the GEMM writes. Column i and its bias are
  // multiplied with scale[i], or with 1 where scale is null; the first `queries` columns with query_scale. Zeros are
  // added up to multiples of `padding`.
  Linear layer(const float* weight, const float* bias, std::int64_t columns, std::int64_t inner, DType dtype,
               DType bias_dtype, const float* scale = nullptr, std::int64_t queries = 0, float query_scale = 1,
               Padding padding = {}) {
    Linear l{nullptr, nullptr, round_up(columns, padding.columns), round_up(inner, padding.inner), dtype, bias_dtype};
    std::vector<char> bytes(l.bytes(), 0), biases(static_cast<std::size_t>(l.columns * size_of(bias_dtype)), 0);
    for (std::int64_t c = 0; c < columns; ++c) {
      const float factor = c < queries ? query_scale : scale ? scale[c] : 1.0f;
      const auto scaled = [factor](float x) { return x * factor; };
      convert(weight + c * inner, inner, dtype, bytes.data() + c * l.inner * size_of(dtype), scaled);
      if (bias) convert(bias + c, 1, bias_dtype, biases.data() + c * size_of(bias_dtype), scaled);
    }
    l.weights = put(bytes.data(), bytes.size());
    if (bias) l.bias = put(biases.data(), biases.size());
    return l;
  }

  // By name, with its bias.
  Linear layer(const std::string& key, std::int64_t columns, std::int64_t inner, DType bias_dtype,
               const float* scale = nullptr, Padding padding = {}) {
    const auto w = need(weights_, key + ".weight", columns, inner), b = need(weights_, key + ".bias", columns, 1);
    return layer(w.data, b.data, columns, inner, dtype_, bias_dtype, scale, 0, 1, padding);
  }

  // A matrix [inner, columns] that rows are multiplied with from the left, in float32; empty where there is none.
  Linear projection(const std::string& key, const std::string& bias) {
    const auto matrix = weights_(key);
    if (!matrix.data) return {};
    return layer(transposed(matrix).data(), weights_(bias).data, matrix.inner(), matrix.rows(), DType::f32, DType::f32);
  }

  LayerNorm norm(const std::string& key, std::int64_t width, float eps) {
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
  DType dtype_;
  std::uint64_t bytes_ = 0;
};

}  // namespace torchclip::cuda
