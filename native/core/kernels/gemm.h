// Matrix multiplication, compiled for one instruction set and instantiated for a Step (steps.h, amx.h), which provides:
//   Sum, kRows, kOffset   register type of a sum; rows of a tile; offset that makes int8 weights unsigned
//   kBytes, weights()     bytes of a column's weights in one step; the weights of a strip's step in two registers
//   zero(), step()        of one sum: step(sum, pointer to 4 bytes of A, weights)
//   rows()                replaces weights(), zero() and step(): computes a whole tile
// See kernels.h for the layout.
#pragma once

#include "kernels/kernels.h"
#include "kernels/vector.h"

namespace {

using torchclip::core::Activation;
using torchclip::core::DType;
using torchclip::core::kPanel;
using torchclip::core::Multiply;
using torchclip::core::Precision;
using torchclip::core::Product;
using torchclip::core::ProductKernel;

constexpr int kWide = kPanel / kLanes;  // The registers of a row of a panel.
constexpr int kStrip = 2 * kLanes;      // The columns of a strip: two registers.
constexpr int kStrips = kPanel / kStrip;

constexpr std::int64_t kLine = 64;  // The bytes of a cache line.
constexpr std::int64_t kBlockSteps = 16;

// The data that is prefetched into the L2 cache while a tile's sums are computed. It is fetched a little after every
// few steps, because a burst would delay the loads of A.
struct Ahead {
  // The rows of results, which are far from the caches with a batch of images.
  const char* to = nullptr;  // null: nothing is prefetched.
  std::int64_t distance = 0, bytes = 0;
  // This tile's share of each strip of the weights that are needed next.
  const char* next = nullptr;  // null: none
  std::int64_t next_bytes = 0;
  void fetch_row(int row) const {
    const char* at = to + row * distance;
    prefetch(at);
    prefetch(at + bytes - 1);
  }
};

// Multiplies R rows of A by a panel, one strip at a time. `distance` is the number of bytes between the strips of a
// panel. It is a separate function because its sums are spilled when it is inlined (3 % slower in bf16).
template <typename Step, int R>
[[gnu::noinline]] void tile(const char* a, std::int64_t lda, const char* weights, std::int64_t steps,
                            std::int64_t distance, typename Step::Sum* out, const Ahead& ahead) {
  constexpr std::int64_t kBytes = kStrip * Step::kBytes;
  const std::int64_t blocks = (steps + kBlockSteps - 1) / kBlockSteps;
  const std::int64_t each = (ahead.next_bytes / blocks + kLine) / kLine * kLine;
  int row = ahead.to ? 0 : R;
  for (int strip = 0; strip < kStrips; ++strip) {
    typename Step::Sum sum[R][2];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = Step::zero();
    const char* w = weights + strip * distance;
    const char* const last = w + steps * kBytes;
    const char* next = ahead.next ? ahead.next + strip * distance : nullptr;
    const char* const next_end = next + (next ? ahead.next_bytes : 0);
    const char* from = a;
    while (w != last) {
      const char* const end = last - w > kBlockSteps * kBytes ? w + kBlockSteps * kBytes : last;
      if (row < R) ahead.fetch_row(row++);
      for (const char* stop = next_end - next > each ? next + each : next_end; next < stop; next += kLine)
        prefetch(next);
      for (; w != end; w += kBytes, from += 4) {
        const auto both = Step::weights(w);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
          sum[r][0] = Step::step(sum[r][0], from + r * lda, both.first);
          sum[r][1] = Step::step(sum[r][1], from + r * lda, both.second);
        }
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      out[r * kWide + 2 * strip] = sum[r][0];
      out[r * kWide + 2 * strip + 1] = sum[r][1];
    }
  }
}

template <typename Step, int R>
void tile_of(int rows, const char* a, std::int64_t lda, const char* weights, std::int64_t steps, std::int64_t distance,
             typename Step::Sum* out, const Ahead& ahead = {}) {
  if constexpr (R > 1) {
    if (rows < R) return tile_of<Step, R - 1>(rows, a, lda, weights, steps, distance, out, ahead);
  }
  tile<Step, R>(a, lda, weights, steps, distance, out, ahead);
}

template <Activation A>
Floats activate(Floats v) {
  if constexpr (A == Activation::quick_gelu) return swish(v, 1.702f);  // openai/CLIP, clip/model.py, QuickGELU
  if constexpr (A == Activation::gelu) return gelu(v);
  if constexpr (A == Activation::gelu_tanh) return gelu_tanh(v);
  if constexpr (A == Activation::silu) return swish(v, 1.0f);
  return v;
}

// Converts sums to results for a whole panel of columns; `v` is [rows][kPanel] floats.
template <Activation A, bool Residual, bool Bf16>
void finish_whole(const Product& p, const float* v, std::int64_t row, int rows, std::int64_t column) {
  Floats bias[kWide];
  for (int i = 0; i < kWide; ++i) bias[i] = p.bias ? load(p.bias + column + i * kLanes) : zero();
  const float* residual = Residual ? p.residual + row * p.ldr + column : nullptr;
  auto* floats = Bf16 ? nullptr : static_cast<float*>(p.out) + row * p.ldo + column;
  auto* halves = Bf16 ? static_cast<std::uint16_t*>(p.out) + row * p.ldo + column : nullptr;
  for (int r = 0; r < rows; ++r) {
    for (int i = 0; i < kWide; ++i) {
      Floats y = activate<A>(load(v + r * kPanel + i * kLanes) + bias[i]);
      if constexpr (Residual) y = y + load(residual + i * kLanes);
      if constexpr (A == Activation::relu) y = max_of(y, zero());
      if constexpr (Bf16) {
        store_bf16(halves + i * kLanes, y);
      } else {
        store(floats + i * kLanes, y);
      }
    }
    if constexpr (Residual) residual += p.ldr;
    if constexpr (Bf16) {
      halves += p.ldo;
    } else {
      floats += p.ldo;
    }
  }
}

template <Activation A>
void finish_as(const Product& p, const float* v, std::int64_t row, int rows, std::int64_t column) {
  const bool bf16 = p.out_type != DType::f32;
  if (p.residual && bf16) return finish_whole<A, true, true>(p, v, row, rows, column);
  if (p.residual) return finish_whole<A, true, false>(p, v, row, rows, column);
  if (bf16) return finish_whole<A, false, true>(p, v, row, rows, column);
  finish_whole<A, false, false>(p, v, row, rows, column);
}

inline void finish(const Product& p, const float* v, std::int64_t row, int rows, std::int64_t column) {
  const std::int64_t width = p.columns - column;
  if (width < kPanel) {  // A partly filled panel is computed in whole rows of temporary memory.
    alignas(64) float residual[kPanel] = {}, out[kPanel];
    Product one = p;
    one.out = out;
    one.out_type = DType::f32;
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
        if (p.out_type == DType::f32) {
          static_cast<float*>(p.out)[at] = out[i];
        } else {
          std::uint16_t rounded[kLanes];
          store_bf16(rounded, all(out[i]));
          static_cast<std::uint16_t*>(p.out)[at] = rounded[0];
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

// The weights are stored with an offset, because they are the unsigned operand. Its contribution to each sum is
// subtracted.
template <typename Step>
const float* as_floats(const Ints* sums, const Product& p, std::int64_t row, int rows, std::int64_t column, float* to) {
  Floats scale[kWide];
  for (int i = 0; i < kWide; ++i) scale[i] = load(p.column_scale + column + i * kLanes);
  for (int r = 0; r < rows; ++r) {
    const Ints offset = all_ints(-Step::kOffset * p.row_sum[row + r]);
    const Floats own = all(p.row_scale[row + r]);
    for (int i = 0; i < kWide; ++i) {
      store(to + r * kPanel + i * kLanes, to_floats(add(sums[r * kWide + i], offset)) * scale[i] * own);
    }
  }
  return to;
}

// Widens the 16-bit weights of a panel to float32, in the order in which Step::Widened reads them.
template <typename Step>
float* widen_panel(const Product& p, std::int64_t panel, float* to) {
  const std::int64_t column_bytes = p.panel_steps * Step::kBytes;
  const char* from = static_cast<const char*>(p.weights) + (panel - p.first_panel) * kPanel * column_bytes;
  for (int strip = 0; strip < kStrips; ++strip) {
    const char* w = from + strip * kStrip * column_bytes;
    for (std::int64_t step = 0; step < p.steps; ++step, w += kStrip * Step::kBytes, to += kStrip) {
      const auto both = Step::weights(w);
      store(to, as_floats(both.first));
      store(to + kLanes, as_floats(both.second));
    }
  }
  return to;
}

template <typename Step>
void multiply(const Product& p, std::int64_t row_begin, std::int64_t row_end, std::int64_t panel_begin,
              std::int64_t panel_end);

// As many panels at a time as the scratch memory takes: they are widened once and multiplied as float32. The sums are
// the same as those of `Step`, in the same order.
template <typename Step>
void multiply_widened(const Product& p, std::int64_t row_begin, std::int64_t row_end, std::int64_t panel_begin,
                      std::int64_t panel_end) {
  Product wide = p;
  wide.weights = p.scratch;
  wide.scratch = nullptr;
  wide.panel_steps = p.steps;
  wide.next_panels = 0;
  for (std::int64_t first = panel_begin; first < panel_end; first += p.scratch_panels) {
    const std::int64_t end = smaller(first + p.scratch_panels, panel_end);
    float* to = p.scratch;
    for (std::int64_t panel = first; panel < end; ++panel) to = widen_panel<Step>(p, panel, to);
    wide.first_panel = first;
    multiply<typename Step::Widened>(wide, row_begin, row_end, first, end);
  }
}

template <typename Step>
void multiply(const Product& p, std::int64_t row_begin, std::int64_t row_end, std::int64_t panel_begin,
              std::int64_t panel_end) {
  constexpr int R = Step::kRows;
  const std::int64_t count = row_end - row_begin;
  if (count <= 0) return;
  if constexpr (requires { typename Step::Widened; }) {
    if (p.scratch) return multiply_widened<Step>(p, row_begin, row_end, panel_begin, panel_end);
  }
  // The tiles have nearly the same height, instead of full tiles and a short last one.
  const std::int64_t tiles = (count + R - 1) / R;
  // The rows of a tile stay in the L1 cache while all panels are processed; the panels stay in the L2 cache.
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t begin = row_begin + t * count / tiles;
    const int rows = static_cast<int>(row_begin + (t + 1) * count / tiles - begin);
    for (std::int64_t panel = panel_begin; panel < panel_end; ++panel) {
      const std::int64_t column_bytes = p.panel_steps * Step::kBytes;
      const char* weights = static_cast<const char*>(p.weights) + (panel - p.first_panel) * kPanel * column_bytes;
      const std::int64_t column = panel * kPanel, size = size_of(p.out_type);
      Ahead ahead{static_cast<const char*>(p.out) + (begin * p.ldo + column) * size, p.ldo * size,
                  smaller(kPanel, p.columns - column) * size};
      if (const std::int64_t own = panel - panel_begin; own < p.next_panels) {
        const std::int64_t lines = p.next_steps * kStrip * Step::kBytes / kLine, first = t * lines / tiles;
        ahead.next = static_cast<const char*>(p.next) + own * kPanel * column_bytes + first * kLine;
        ahead.next_bytes = ((t + 1) * lines / tiles - first) * kLine;
      }
      typename Step::Sum sums[R * kWide];
      const char* a = static_cast<const char*>(p.a) + begin * p.lda;
      if constexpr (requires { Step::rows; }) {
        Step::rows(rows, a, p.lda, weights, p.steps, sums, ahead);
      } else {
        tile_of<Step, R>(rows, a, p.lda, weights, p.steps, kStrip * column_bytes, sums, ahead);
      }
      alignas(64) float values[R * kPanel];
      finish(p, as_floats<Step>(sums, p, begin, rows, column, values), begin, rows, column);
    }
  }
}

template <typename Step>
constexpr ProductKernel product_of(Precision weights, DType input, Multiply multiply_rows = multiply<Step>) {
  return {{weights, input, kStrip}, multiply_rows, Step::kRows};
}

}  // namespace
