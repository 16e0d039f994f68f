// The kernels' references: what each of kernels.h computes, as plain loops over memory of the host. The tests compare
// the two, here over the host's model of a GPU and, where there is one, on the GPU.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "arithmetic.h"
#include "device.h"

namespace torchclip::cuda::reference {

inline float element(const void* data, DType number, std::int64_t i) {
  if (number == DType::f32) return static_cast<const float*>(data)[i];
  if (number == DType::f16) return to_float(static_cast<const Half*>(data)[i]);
  if (number == DType::e4m3) return to_float(static_cast<const E4m3*>(data)[i]);
  return to_float(static_cast<const Bf16*>(data)[i]);
}

inline void set(void* data, DType number, std::int64_t i, float value) {
  if (number == DType::f32) {
    static_cast<float*>(data)[i] = value;
  } else if (number == DType::f16) {
    static_cast<Half*>(data)[i] = from_float<Half>(value);
  } else if (number == DType::e4m3) {
    static_cast<E4m3*>(data)[i] = from_float<E4m3>(value);
  } else {
    static_cast<Bf16*>(data)[i] = from_float<Bf16>(value);
  }
}

inline void patches(const std::uint8_t* pixels, std::int64_t rows, std::int64_t size, std::int64_t patch,
                    std::int64_t stride, const float* table, DType number, void* out) {
  const std::int64_t grid = size / patch;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t gy = 0; gy < grid; ++gy) {
      for (std::int64_t gx = 0; gx < grid; ++gx) {
        const std::int64_t to = ((r * grid + gy) * grid + gx) * stride;
        std::int64_t i = 0;
        for (int c = 0; c < 3; ++c) {
          for (std::int64_t y = 0; y < patch; ++y) {
            for (std::int64_t x = 0; x < patch; ++x) {
              const auto byte = pixels[((r * size + gy * patch + y) * size + gx * patch + x) * 3 + c];
              set(out, number, to + i++, table[c * 256 + byte]);
            }
          }
        }
        while (i < stride) set(out, number, to + i++, 0);
      }
    }
  }
}

inline void layer_norm(const float* x, std::int64_t stride, const std::int32_t* index, std::int64_t rows,
                       std::int64_t width, const NormWeights& norm, DType number, void* out) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* from = x + (index ? index[r] : r) * stride;
    double mean = 0, squares = 0;
    for (std::int64_t i = 0; i < width; ++i) mean += from[i];
    mean /= static_cast<double>(width);
    for (std::int64_t i = 0; i < width; ++i) squares += (from[i] - mean) * (from[i] - mean);
    const double scale = 1 / std::sqrt(squares / static_cast<double>(width) + norm.eps);
    for (std::int64_t i = 0; i < width; ++i) {
      const double y = norm.gamma ? (from[i] - mean) * scale * norm.gamma[i] + (norm.beta ? norm.beta[i] : 0) : from[i];
      set(out, number, r * width + i, static_cast<float>(y));
    }
  }
}

// x + deltas, and its norm in `format`; the sum replaces x if `stores`.
inline void add_norm(float* x, const Deltas& deltas, bool stores, std::int64_t rows, std::int64_t width,
                     const NormWeights& norm, const NumberFormat& format, void* out) {
  std::vector<float> sums(x, x + rows * width), normalized(sums.size());
  for (const Bf16* delta : {deltas.first, deltas.second}) {
    if (!delta) continue;
    for (float& sum : sums) sum += to_float(*delta++);
  }
  layer_norm(sums.data(), width, nullptr, rows, width, norm, DType::f32, normalized.data());
  std::int64_t i = 0;
  for (const float value : normalized) {
    if (out) set(out, format.dtype, i++, value * format.scale);
  }
  if (stores) std::copy(sums.begin(), sums.end(), x);
}

inline void assemble(const float* embedded, const float* positions, const float* token, std::int64_t rows,
                     std::int64_t patches, std::int64_t width, const NormWeights& norm, float* x) {
  const std::int64_t extra = token ? 1 : 0;
  std::vector<float> row(static_cast<std::size_t>(width));
  float* line = row.data();
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t p = -extra; p < patches; ++p) {
      for (std::int64_t i = 0; i < width; ++i) {
        line[i] = p < 0 ? token[i] : embedded[(r * patches + p) * width + i] + positions[p * width + i];
      }
      layer_norm(line, width, nullptr, 1, width, norm, DType::f32, x + (r * (patches + extra) + p + extra) * width);
    }
  }
}

inline float activate(float x, Activation a) {
  const double v = x;
  switch (a) {
    case Activation::quick_gelu:
      return static_cast<float>(v / (1 + std::exp(-1.702 * v)));
    case Activation::silu:
      return static_cast<float>(v / (1 + std::exp(-v)));
    case Activation::relu:
      return v > 0 ? x : 0;
    case Activation::gelu:
      return static_cast<float>(0.5 * v * (1 + std::erf(v * std::sqrt(0.5))));
    case Activation::gelu_tanh:
      return static_cast<float>(0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v))));
    default:
      return x;
  }
}

inline void bias_activation(void* x, DType number, std::int64_t rows, std::int64_t columns, const float* bias,
                            Activation activation) {
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    set(x, number, i, activate(element(x, number, i) + (bias ? bias[i % columns] : 0), activation));
  }
}

// Attention of one query of one head over `keys` keys from row `key` on.
inline void attend_one(const Attention& a, std::int64_t query, std::int64_t key, std::int64_t keys, std::int64_t head,
                       void* out) {
  const std::int64_t column = head * a.width;
  std::vector<double> weights;
  double total = 0, most = -INFINITY;
  for (std::int64_t k = 0; k < keys; ++k) {
    double dot = 0;
    for (std::int64_t i = 0; i < a.width; ++i) {
      dot += static_cast<double>(element(a.q, a.dtype, query * a.q_stride + column + i)) *
             element(a.k, a.dtype, (key + k) * a.kv_stride + column + i);
    }
    weights.push_back(dot);
    most = std::max(most, dot);
  }
  for (auto& w : weights) total += w = std::exp(w - most);
  for (std::int64_t i = 0; i < a.width; ++i) {
    double sum = 0;
    std::int64_t at = key * a.kv_stride + column + i;
    for (const double weight : weights) {
      sum += weight / total * element(a.v, a.dtype, at);
      at += a.kv_stride;
    }
    set(out, a.dtype, (query * a.heads + head) * a.width + i, static_cast<float>(sum));
  }
}

inline void attend(const Attention& a, void* out) {
  for (std::int64_t s = 0; s < a.sequences; ++s) {
    const std::int64_t first = a.query_starts[s], end = a.query_starts[s + 1];
    const std::int64_t key = a.key_starts[s], keys = a.key_starts[s + 1] - key;
    for (std::int64_t q = first; q < end; ++q) {
      const std::int64_t seen = a.causal ? std::min(keys, q - first + 1) : keys;
      for (std::int64_t h = 0; h < a.heads; ++h) attend_one(a, q, key, seen, h, out);
    }
  }
}

inline void average(const float* x, std::int64_t rows, std::int64_t length, std::int64_t first, std::int64_t width,
                    float* out) {
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < width; ++i) {
      double sum = 0;
      for (std::int64_t t = first; t < length; ++t) sum += x[(r * length + t) * width + i];
      out[r * width + i] = static_cast<float>(sum / static_cast<double>(length - first));
    }
  }
}

inline void normalize(float* rows, std::int64_t count, std::int64_t width) {
  for (float* row = rows; row != rows + count * width; row += width) {
    double squares = 0;
    for (std::int64_t i = 0; i < width; ++i) squares += static_cast<double>(row[i]) * row[i];
    for (std::int64_t i = 0; i < width; ++i) row[i] = static_cast<float>(row[i] / std::sqrt(squares));
  }
}

inline void gather(const float* x, const std::int32_t* index, std::int64_t rows, std::int64_t width, float* out) {
  for (std::int64_t r = 0; r < rows; ++r) std::copy_n(x + index[r] * width, width, out + r * width);
}

inline void embed_tokens(const std::int32_t* ids, const std::int32_t* places, std::int64_t tokens,
                         const void* embedding, DType number, const float* position, std::int64_t width, float* x) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t i = 0; i < width; ++i) {
      x[t * width + i] = element(embedding, number, ids[t] * width + i) + position[places[t] * width + i];
    }
  }
}

}  // namespace torchclip::cuda::reference
