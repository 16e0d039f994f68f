// The matrix product for one type, compiled for one instruction set: include after defining
//   TORCHCLIP_STEP      a struct with: Sum (register type), kRows, kOffset, and either zero() and step(sum, pointer to
//                       4 bytes of A, weights), or rows() for all of a tile (amx.h)
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

// Where the rows of a tile's results will be written: far from the caches, with a batch of pictures. They are fetched
// into the second cache while the sums are made, a row at a time, since a burst would hold up the loads of A.
struct Ahead {
  const char* to = nullptr;  // null: nothing is fetched
  std::int64_t distance = 0, bytes = 0;
  void fetch(int row) const {
    const char* at = to + row * distance;
    _mm_prefetch(at, _MM_HINT_T1);
    _mm_prefetch(at + bytes - 1, _MM_HINT_T1);
  }
};

// R rows of A by a panel, two registers of columns at a time (all of it with 512 bits, half of it with 256). A function
// of its own: inlined, its sums are spilled (bf16 3 % slower).
template <typename Step, int R>
[[gnu::noinline]] void tile(const char* a, std::int64_t lda, const char* weights, std::int64_t steps,
                            typename Step::Sum* out, const Ahead& ahead) {
  for (int half = 0; half < kWide; half += 2) {
    typename Step::Sum sum[R][2];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = Step::zero();
    const char* w = weights + half * kLanes * 4;
    const char* from = a;
    const int parts = ahead.to && half == 0 ? R : 1;
    for (int part = 0; part < parts; ++part) {
      if (parts > 1) ahead.fetch(part);
      const char* end = weights + half * kLanes * 4 + (part + 1) * steps / parts * kPanel * 4;
      for (; w != end; w += kPanel * 4, from += 4) {
        const Ints w0 = load_weights(w), w1 = load_weights(w + kLanes * 4);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
          sum[r][0] = Step::step(sum[r][0], from + r * lda, w0);
          sum[r][1] = Step::step(sum[r][1], from + r * lda, w1);
        }
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
             typename Step::Sum* out, const Ahead& ahead = {}) {
  if constexpr (R > 1) {
    if (rows < R) return tile_of<Step, R - 1>(rows, a, lda, weights, steps, out, ahead);
  }
  tile<Step, R>(a, lda, weights, steps, out, ahead);
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

template <typename Step>
const float* as_floats(const Floats* sums, const Product&, std::int64_t, int, std::int64_t, float*) {
  return reinterpret_cast<const float*>(sums);
}

// The weights are stored with an offset (they are the unsigned operand): what it adds to each product is taken away.
template <typename Step>
const float* as_floats(const Ints* sums, const Product& p, std::int64_t row, int rows, std::int64_t column, float* to) {
  Floats scale[kWide];
  for (int i = 0; i < kWide; ++i) scale[i] = load(p.columnScale + column + i * kLanes);
  for (int r = 0; r < rows; ++r) {
    const Ints offset = all_ints(-Step::kOffset * p.rowSum[row + r]);
    const Floats own = all(p.rowScale[row + r]);
    for (int i = 0; i < kWide; ++i) {
      store(to + r * kPanel + i * kLanes, to_floats(add(sums[r * kWide + i], offset)) * scale[i] * own);
    }
  }
  return to;
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
      const std::int64_t column = panel * kPanel, size = size_of(p.outType);
      const Ahead ahead{static_cast<const char*>(p.out) + (begin * p.ldo + column) * size, p.ldo * size,
                        smaller(kPanel, p.columns - column) * size};
      typename Step::Sum sums[R * kWide];
      const char* a = static_cast<const char*>(p.a) + begin * p.lda;
      if constexpr (requires { Step::rows; }) {
        Step::rows(rows, a, p.lda, weights, p.steps, sums, ahead);
      } else {
        tile_of<Step, R>(rows, a, p.lda, weights, p.steps, sums, ahead);
      }
      alignas(64) float values[R * kPanel];
      finish(p, as_floats<Step>(sums, p, begin, rows, column, values), begin, rows, column);
    }
  }
}

}  // namespace
