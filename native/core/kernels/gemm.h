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

template <Activation A>
Floats activate(Floats v) {
  if constexpr (A == Activation::quick_gelu) return swish(v, 1.702f);  // openai/CLIP, clip/model.py, QuickGELU
  if constexpr (A == Activation::gelu) return gelu(v);
  if constexpr (A == Activation::gelu_tanh) return gelu_tanh(v);
  if constexpr (A == Activation::silu) return swish(v, 1.0f);
  return v;
}

// Sums of products to results, for a whole panel of columns; `v` is [rows][kPanel] floats.
template <Activation A, bool Residual, bool Brain>
void finish_whole(const Product& p, const float* v, std::int64_t row, int rows, std::int64_t column) {
  Floats bias[kWide];
  for (int i = 0; i < kWide; ++i) bias[i] = p.bias ? load(p.bias + column + i * kLanes) : zero();
  const float* residual = Residual ? p.residual + row * p.ldr + column : nullptr;
  auto* floats = Brain ? nullptr : static_cast<float*>(p.out) + row * p.ldo + column;
  auto* brains = Brain ? static_cast<std::uint16_t*>(p.out) + row * p.ldo + column : nullptr;
  for (int r = 0; r < rows; ++r) {
    for (int i = 0; i < kWide; ++i) {
      Floats y = activate<A>(load(v + r * kPanel + i * kLanes) + bias[i]);
      if constexpr (Residual) y = y + load(residual + i * kLanes);
      if constexpr (A == Activation::relu) y = max_of(y, zero());
      if constexpr (Brain) {
        store_bf16(brains + i * kLanes, y);
      } else {
        store(floats + i * kLanes, y);
      }
    }
    if constexpr (Residual) residual += p.ldr;
    if constexpr (Brain) {
      brains += p.ldo;
    } else {
      floats += p.ldo;
    }
  }
}

template <Activation A>
void finish_as(const Product& p, const float* v, std::int64_t row, int rows, std::int64_t column) {
  const bool brain = p.outType != Type::f32;
  if (p.residual && brain) return finish_whole<A, true, true>(p, v, row, rows, column);
  if (p.residual) return finish_whole<A, true, false>(p, v, row, rows, column);
  if (brain) return finish_whole<A, false, true>(p, v, row, rows, column);
  finish_whole<A, false, false>(p, v, row, rows, column);
}

inline void finish(const Product& p, const float* v, std::int64_t row, int rows, std::int64_t column) {
  const std::int64_t width = p.columns - column;
  if (width < kPanel) {  // by way of whole rows beside it
    alignas(64) float residual[kPanel] = {}, out[kPanel];
    Product one = p;
    one.out = out;
    one.outType = Type::f32;
    one.bias = p.bias ? p.bias + column : nullptr;
    one.columns = kPanel;
    for (int r = 0; r < rows; ++r) {
      if (p.residual) {
        for (int i = 0; i < width; ++i) residual[i] = p.residual[(row + r) * p.ldr + column + i];
        one.residual = residual;
      }
      finish(one, v + r * kPanel, 0, 1, 0);
      for (int i = 0; i < width; ++i) {
        const std::int64_t at = (row + r) * p.ldo + column + i;
        if (p.outType == Type::f32) {
          static_cast<float*>(p.out)[at] = out[i];
        } else {
          std::uint16_t brain[kLanes];
          store_bf16(brain, all(out[i]));
          static_cast<std::uint16_t*>(p.out)[at] = brain[0];
        }
      }
    }
    return;
  }
  switch (p.activation) {
    case Activation::quick_gelu:
      return finish_as<Activation::quick_gelu>(p, v, row, rows, column);
    case Activation::gelu:
      return finish_as<Activation::gelu>(p, v, row, rows, column);
    case Activation::gelu_tanh:
      return finish_as<Activation::gelu_tanh>(p, v, row, rows, column);
    case Activation::silu:
      return finish_as<Activation::silu>(p, v, row, rows, column);
    case Activation::relu:
      return finish_as<Activation::relu>(p, v, row, rows, column);
    default:
      return finish_as<Activation::none>(p, v, row, rows, column);
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
