// Weights on their way to the device, in the types in which the kernels read them.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"
#include "layers.h"
#include "model/config/weights.h"
#include "product_input.h"

namespace torchclip::cuda {

using core::round_up;
using core::Weights;

// What a precision computes with.
struct NumberTypes {
  DType dtype;     // of what lies between products, and of the products outside of the blocks
  DType products;  // of the weights and inputs of the products of blocks
};

// fp32, fp16, bf16, or fp8: E4M3 products between numbers of bf16. Throws Error(E_ARGUMENT) for another one.
inline NumberTypes types_of(const std::string& precision) {
  if (precision == "fp32") return {DType::f32, DType::f32};
  if (precision == "fp16") return {DType::f16, DType::f16};
  if (precision == "bf16") return {DType::bf16, DType::bf16};
  if (precision == "fp8") return {DType::bf16, DType::e4m3};
  throw core::Error(TORCHCLIP_E_ARGUMENT,
                    "precision must be fp32, fp16, bf16 or fp8 on CUDA, not \"" + precision + "\"");
}

template <typename Convert>
void convert(const float* from, std::int64_t n, DType dtype, void* to, Convert&& scaled) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float x = scaled(from[i]);
    if (dtype == DType::f32) {
      static_cast<float*>(to)[i] = x;
    } else if (dtype == DType::f16) {
      static_cast<Half*>(to)[i] = from_float<Half>(x);
    } else if (dtype == DType::e4m3) {
      static_cast<E4m3*>(to)[i] = from_float<E4m3>(x);
    } else {
      static_cast<Bf16*>(to)[i] = from_float<Bf16>(x);
    }
  }
}

// cuBLASLt's products of E4M3 have rows of a multiple of 16 bytes, and as many columns.
constexpr std::int64_t kE4m3Multiple = 16;

// Multiples that the sizes of a layer are padded to.
struct Padding {
  std::int64_t columns = 1, inner = 8;
};

// Weights to the device.
class WeightLoader {
 public:
  WeightLoader(Device& device, const Weights& weights, NumberTypes types)
      : device_(device), weights_(weights), dtype_(types.dtype), products_(types.products) {}

  DType dtype() const { return dtype_; }
  DType products() const { return products_; }  // of blocks
  const Weights& weights() const { return weights_; }

  Memory floats(const float* data, std::int64_t n) { return put(data, static_cast<std::size_t>(n) * 4); }

  Memory numbers(const float* data, std::int64_t n) {
    std::vector<char> bytes(static_cast<std::size_t>(n * size_of(dtype_)));
    convert(data, n, dtype_, bytes.data(), [](float x) { return x; });
    return put(bytes.data(), bytes.size());
  }

  // weight: [columns, inner]; bias: [columns] or null, kept in the type that the GEMM writes. Column i and its bias are
  // multiplied with scale[i], or with 1 where scale is null; the first `queries` columns with query_scale. Zeros are
  // added up to multiples of `padding`. Weights of E4M3 have one scale. Throws Error(E_PRECISION) for sizes that E4M3
  // products do not have.
  Linear layer(const float* weight, const float* bias, std::int64_t columns, std::int64_t inner, DType dtype,
               DType bias_dtype, const float* scale = nullptr, std::int64_t queries = 0, float query_scale = 1,
               Padding padding = {}) {
    Linear l{nullptr, nullptr, round_up(columns, padding.columns), round_up(inner, padding.inner), dtype, bias_dtype};
    const auto factor_of = [=](std::int64_t c) { return c < queries ? query_scale : scale ? scale[c] : 1.0f; };
    if (dtype == DType::e4m3) prepare_e4m3(l, weight, columns, inner, factor_of);
    std::vector<char> bytes(l.bytes(), 0), biases(static_cast<std::size_t>(l.columns * size_of(bias_dtype)), 0);
    for (std::int64_t c = 0; c < columns; ++c) {
      const float factor = factor_of(c), stored = 1 / l.weight_scale;
      const auto scaled = [factor](float x) { return x * factor; };
      convert(weight + c * inner, inner, dtype, bytes.data() + c * l.inner * size_of(dtype),
              [=](float x) { return x * factor * stored; });
      if (bias) convert(bias + c, 1, bias_dtype, biases.data() + c * size_of(bias_dtype), scaled);
    }
    l.weights = put(bytes.data(), bytes.size());
    if (bias) l.bias = put(biases.data(), biases.size());
    return l;
  }

  // By name, with its bias.
  Linear layer(const std::string& key, std::int64_t columns, std::int64_t inner, DType dtype, DType bias_dtype,
               const float* scale = nullptr, Padding padding = {}) {
    const auto w = need(weights_, key + ".weight", columns, inner), b = need(weights_, key + ".bias", columns, 1);
    return layer(w.data, b.data, columns, inner, dtype, bias_dtype, scale, 0, 1, padding);
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
  // The scales of a layer of E4M3, before its weights are converted.
  template <typename Factor>
  static void prepare_e4m3(Linear& layer, const float* weight, std::int64_t columns, std::int64_t inner,
                           const Factor& factor_of) {
    if (layer.columns % kE4m3Multiple != 0 || layer.inner % kE4m3Multiple != 0) {
      throw core::Error(TORCHCLIP_E_PRECISION,
                        "fp8 multiplies matrices whose sides are multiples of 16; this model has one of " +
                            std::to_string(columns) + " x " + std::to_string(inner));
    }
    float largest = 0;
    for (std::int64_t c = 0; c < columns; ++c) {
      const float factor = factor_of(c);
      for (std::int64_t i = 0; i < inner; ++i) largest = std::max(largest, std::abs(weight[c * inner + i] * factor));
    }
    layer.weight_scale = e4m3_scale(largest);
    layer.input_scale = 0;
  }

  Memory put(const void* data, std::size_t bytes) {
    auto memory = device_.allocate(bytes);
    device_.upload(memory.get(), data, bytes);
    bytes_ += bytes;
    return memory;
  }

  Device& device_;
  const Weights& weights_;
  DType dtype_, products_;
  std::uint64_t bytes_ = 0;
};

}  // namespace torchclip::cuda
