// The matrix product for one type, compiled for one instruction set: include after defining
//   TORCHCLIP_STEP      a struct with: Sum (register type), kRows, zero(), step(sum, pointer to 4 bytes of A, weights)
// See kernels.h for the layout.
#pragma once

#include "kernels/kernels.h"
#include "kernels/vector.h"

namespace {

using torchclip::core::Activation;
using torchclip::core::kPanel;
using torchclip::core::Product;
using torchclip::core::Type;

constexpr int kWide = kPanel / kLanes;  // registers in a row of a panel

inline Ints load_weights(const char* p) {
#if defined(__AVX512F__)
  return _mm512_loadu_si512(p);
#else
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
#endif
}

// R rows of A by a panel, two registers of columns at a time (all of it with 512 bits, half of it with 256).
template <typename Step, int R>
void tile(const char* a, std::int64_t lda, const char* weights, std::int64_t steps, typename Step::Sum* out) {
  for (int half = 0; half < kWide; half += 2) {
    typename Step::Sum sum[R][2];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = Step::zero();
    const char* w = weights + half * kLanes * 4;
    const char* from = a;
    for (std::int64_t k = 0; k < steps; ++k, w += kPanel * 4, from += 4) {
      const Ints w0 = load_weights(w), w1 = load_weights(w + kLanes * 4);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        sum[r][0] = Step::step(sum[r][0], from + r * lda, w0);
        sum[r][1] = Step::step(sum[r][1], from + r * lda, w1);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      out[r * kWide + half] = sum[r][0];
      out[r * kWide + half + 1] = sum[r][1];
    }
  }
}

template <typename Step, int R>
void tile_of(int rows, const char* a, std::int64_t lda, const char* weights, std::int64_t steps,
             typename Step::Sum* out) {
  if constexpr (R > 1) {
    if (rows < R) return tile_of<Step, R - 1>(rows, a, lda, weights, steps, out);
  }
  tile<Step, R>(a, lda, weights, steps, out);
}

inline Floats activate(Activation activation, Floats v) {
  switch (activation) {
    case Activation::quick_gelu:
      return swish(v, 1.702f);  // openai/CLIP, clip/model.py, QuickGELU
    case Activation::gelu:
      return gelu(v);
    case Activation::gelu_tanh:
      return gelu_tanh(v);
    case Activation::silu:
      return swish(v, 1.0f);
    default:
      return v;
  }
}

// Sums of products to results; `v` is [rows][kPanel] floats.
inline void finish(const Product& p, const float* v, std::int64_t row, int rows, std::int64_t column) {
  const std::int64_t width = smaller(kPanel, p.columns - column);
  for (int r = 0; r < rows; ++r) {
    alignas(64) float tail[kPanel];
    const float* residual = p.residual ? p.residual + (row + r) * p.ldr + column : nullptr;
    if (residual && width < kPanel) {
      for (int i = 0; i < width; ++i) tail[i] = residual[i];
      residual = tail;
    }
    Floats y[kWide];
    for (int i = 0; i < kWide; ++i) {
      y[i] = load(v + r * kPanel + i * kLanes);
      if (p.bias) y[i] = y[i] + load(p.bias + column + i * kLanes);
      if (p.activation != Activation::relu) y[i] = activate(p.activation, y[i]);
      if (residual) y[i] = y[i] + load(residual + i * kLanes);
      if (p.activation == Activation::relu) y[i] = max_of(y[i], zero());
    }
    if (p.outType == Type::f32) {
      float* out = static_cast<float*>(p.out) + (row + r) * p.ldo + column;
      float* to = width == kPanel ? out : tail;
      for (int i = 0; i < kWide; ++i) store(to + i * kLanes, y[i]);
      if (to == tail) {
        for (int i = 0; i < width; ++i) out[i] = tail[i];
      }
    } else {
      auto* out = static_cast<std::uint16_t*>(p.out) + (row + r) * p.ldo + column;
      std::uint16_t part[kPanel];
      std::uint16_t* to = width == kPanel ? out : part;
      for (int i = 0; i < kWide; ++i) store_bf16(to + i * kLanes, y[i]);
      if (to == part) {
        for (int i = 0; i < width; ++i) out[i] = part[i];
      }
    }
  }
}

inline Floats as_floats(Floats v, const Product&, std::int64_t, std::int64_t, int, int) { return v; }

// The weights are stored with an offset (they are the unsigned operand): what it adds to each product is taken away.
inline Floats as_floats(Ints v, const Product& p, std::int64_t row, std::int64_t column, int offset, int lane) {
  const Floats exact = to_floats(
#if defined(__AVX512F__)
      _mm512_sub_epi32(v, _mm512_set1_epi32(offset * p.rowSum[row]))
#else
      _mm256_sub_epi32(v, _mm256_set1_epi32(offset * p.rowSum[row]))
#endif
  );
  return exact * load(p.columnScale + column + lane) * all(p.rowScale[row]);
}

template <typename Step>
void multiply(const Product& p, std::int64_t row_begin, std::int64_t row_end, std::int64_t panel_begin,
              std::int64_t panel_end) {
  constexpr int R = Step::kRows;
  const std::int64_t count = row_end - row_begin;
  if (count <= 0) return;
  // Tiles of nearly the same height, instead of full ones and a flat last one.
  const std::int64_t tiles = (count + R - 1) / R;
  // The rows of a tile stay in the first cache while all panels pass by, which stay in the second one.
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t begin = row_begin + t * count / tiles;
    const int rows = static_cast<int>(row_begin + (t + 1) * count / tiles - begin);
    for (std::int64_t panel = panel_begin; panel < panel_end; ++panel) {
      const char* weights = static_cast<const char*>(p.weights) + panel * p.panelSteps * kPanel * 4;
      typename Step::Sum sums[R * kWide];
      tile_of<Step, R>(rows, static_cast<const char*>(p.a) + begin * p.lda, p.lda, weights, p.steps, sums);
      alignas(64) float values[R * kPanel];
      for (int r = 0; r < rows; ++r) {
        for (int i = 0; i < kWide; ++i) {
          store(values + r * kPanel + i * kLanes,
                as_floats(sums[r * kWide + i], p, begin + r, panel * kPanel, Step::kOffset, i * kLanes));
        }
      }
      finish(p, values, begin, rows, panel * kPanel);
    }
  }
}

}  // namespace
