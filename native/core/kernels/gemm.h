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
using torchclip::core::Gemm;
using torchclip::core::GemmArgs;
using torchclip::core::GemmKernel;
using torchclip::core::kPanel;
using torchclip::core::Precision;

constexpr int kWide = kPanel / kLanes;  // The registers of a row of a panel.
constexpr int kStrip = 2 * kLanes;      // The columns of a strip: two registers.
constexpr int kStrips = kPanel / kStrip;

constexpr std::int64_t kLine = 64;  // The bytes of a cache line.
constexpr std::int64_t kBlockSteps = 16;

// The data that is prefetched into the L2 cache while a tile's sums are computed. It is fetched a little after every
// few steps, because a burst would delay the loads of A.
struct TilePrefetch {
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
                            std::int64_t distance, typename Step::Sum* out, const TilePrefetch& upcoming) {
  constexpr std::int64_t kBytes = kStrip * Step::kBytes;
  const std::int64_t blocks = (steps + kBlockSteps - 1) / kBlockSteps;
  const std::int64_t each = (upcoming.next_bytes / blocks + kLine) / kLine * kLine;
  int row = upcoming.to ? 0 : R;
  for (int strip = 0; strip < kStrips; ++strip) {
    typename Step::Sum sum[std::size_t{R}][2];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = Step::zero();
    const char* w = weights + strip * distance;
    const char* const last = w + steps * kBytes;
    const char* next = upcoming.next ? upcoming.next + strip * distance : nullptr;
    const char* const next_end = next + (next ? upcoming.next_bytes : 0);
    const char* from = a;
    while (w != last) {
      const char* const end = last - w > kBlockSteps * kBytes ? w + kBlockSteps * kBytes : last;
      if (row < R) upcoming.fetch_row(row++);
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
             typename Step::Sum* out, const TilePrefetch& upcoming = {}) {
  if constexpr (R > 1) {
    if (rows < R) return tile_of<Step, R - 1>(rows, a, lda, weights, steps, distance, out, upcoming);
  }
  tile<Step, R>(a, lda, weights, steps, distance, out, upcoming);
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
void epilogue_panel(const GemmArgs& args, const float* v, std::int64_t row, int rows, std::int64_t column) {
  Floats bias[kWide];
  for (int i = 0; i < kWide; ++i) bias[i] = args.bias ? load(args.bias + column + i * kLanes) : zero();
  const float* residual = Residual ? args.residual + row * args.ldr + column : nullptr;
  auto* floats = Bf16 ? nullptr : static_cast<float*>(args.out) + row * args.ldo + column;
  auto* halves = Bf16 ? static_cast<std::uint16_t*>(args.out) + row * args.ldo + column : nullptr;
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
    if constexpr (Residual) residual += args.ldr;
    if constexpr (Bf16) {
      halves += args.ldo;
    } else {
      floats += args.ldo;
    }
  }
}

template <Activation A>
void epilogue_with(const GemmArgs& args, const float* v, std::int64_t row, int rows, std::int64_t column) {
  const bool bf16 = args.out_type != DType::f32;
  if (args.residual && bf16) return epilogue_panel<A, true, true>(args, v, row, rows, column);
  if (args.residual) return epilogue_panel<A, true, false>(args, v, row, rows, column);
  if (bf16) return epilogue_panel<A, false, true>(args, v, row, rows, column);
  epilogue_panel<A, false, false>(args, v, row, rows, column);
}

inline void epilogue(const GemmArgs& args, const float* v, std::int64_t row, int rows, std::int64_t column) {
  const std::int64_t width = args.columns - column;
  if (width < kPanel) {  // A partly filled panel is computed in whole rows of temporary memory.
    alignas(64) float residual[kPanel] = {}, out[kPanel];
    GemmArgs one = args;
    one.out = out;
    one.out_type = DType::f32;
    one.bias = args.bias ? args.bias + column : nullptr;
    one.columns = kPanel;
    for (int r = 0; r < rows; ++r) {
      if (args.residual) {
        for (int i = 0; i < width; ++i) residual[i] = args.residual[(row + r) * args.ldr + column + i];
        one.residual = residual;
      }
      epilogue(one, v + r * kPanel, 0, 1, 0);
      for (int i = 0; i < width; ++i) {
        const std::int64_t at = (row + r) * args.ldo + column + i;
        if (args.out_type == DType::f32) {
          static_cast<float*>(args.out)[at] = out[i];
        } else {
          std::uint16_t rounded[kLanes];
          store_bf16(rounded, all(out[i]));
          static_cast<std::uint16_t*>(args.out)[at] = rounded[0];
        }
      }
    }
    return;
  }
  switch (args.activation) {
    case Activation::quick_gelu:
      return epilogue_with<Activation::quick_gelu>(args, v, row, rows, column);
    case Activation::gelu:
      return epilogue_with<Activation::gelu>(args, v, row, rows, column);
    case Activation::gelu_tanh:
      return epilogue_with<Activation::gelu_tanh>(args, v, row, rows, column);
    case Activation::silu:
      return epilogue_with<Activation::silu>(args, v, row, rows, column);
    case Activation::relu:
      return epilogue_with<Activation::relu>(args, v, row, rows, column);
    default:
      return epilogue_with<Activation::none>(args, v, row, rows, column);
  }
}

template <typename Step>
const float* dequantize(const Floats* sums, const GemmArgs&, std::int64_t, int, std::int64_t, float*) {
  return reinterpret_cast<const float*>(sums);
}

// The weights are stored with an offset, because they are the unsigned operand. Its contribution to each sum is
// subtracted.
template <typename Step>
const float* dequantize(const Ints* sums, const GemmArgs& args, std::int64_t row, int rows, std::int64_t column,
                        float* to) {
  Floats scale[kWide];
  for (int i = 0; i < kWide; ++i) scale[i] = load(args.column_scale + column + i * kLanes);
  for (int r = 0; r < rows; ++r) {
    const Ints offset = all_ints(-Step::kOffset * args.row_sum[row + r]);
    const Floats row_scale = all(args.row_scale[row + r]);
    for (int i = 0; i < kWide; ++i) {
      store(to + r * kPanel + i * kLanes, to_floats(add(sums[r * kWide + i], offset)) * scale[i] * row_scale);
    }
  }
  return to;
}

// Widens the 16-bit weights of a panel to float32, in the order in which Step::Widened reads them.
template <typename Step>
float* widen_panel(const GemmArgs& args, std::int64_t panel, float* to) {
  const std::int64_t column_bytes = args.panel_steps * Step::kBytes;
  const char* from = static_cast<const char*>(args.weights) + (panel - args.first_panel) * kPanel * column_bytes;
  for (int strip = 0; strip < kStrips; ++strip) {
    const char* w = from + strip * kStrip * column_bytes;
    for (std::int64_t step = 0; step < args.steps; ++step, w += kStrip * Step::kBytes, to += kStrip) {
      const auto both = Step::weights(w);
      store(to, as_floats(both.first));
      store(to + kLanes, as_floats(both.second));
    }
  }
  return to;
}

template <typename Step>
void gemm(const GemmArgs& args, std::int64_t row_begin, std::int64_t row_end, std::int64_t panel_begin,
          std::int64_t panel_end);

// As many panels at a time as the scratch memory takes: they are widened once and multiplied as float32. The sums are
// the same as those of `Step`, in the same order.
template <typename Step>
void gemm_widened(const GemmArgs& args, std::int64_t row_begin, std::int64_t row_end, std::int64_t panel_begin,
                  std::int64_t panel_end) {
  GemmArgs widened = args;
  widened.weights = args.scratch;
  widened.scratch = nullptr;
  widened.panel_steps = args.steps;
  widened.next_panels = 0;
  for (std::int64_t first = panel_begin; first < panel_end; first += args.scratch_panels) {
    const std::int64_t end = smaller(first + args.scratch_panels, panel_end);
    float* to = args.scratch;
    for (std::int64_t panel = first; panel < end; ++panel) to = widen_panel<Step>(args, panel, to);
    widened.first_panel = first;
    gemm<typename Step::Widened>(widened, row_begin, row_end, first, end);
  }
}

template <typename Step>
void gemm(const GemmArgs& args, std::int64_t row_begin, std::int64_t row_end, std::int64_t panel_begin,
          std::int64_t panel_end) {
  constexpr int R = Step::kRows;
  const std::int64_t count = row_end - row_begin;
  if (count <= 0) return;
  if constexpr (requires { typename Step::Widened; }) {
    if (args.scratch) return gemm_widened<Step>(args, row_begin, row_end, panel_begin, panel_end);
  }
  // The tiles have nearly the same height, instead of full tiles and a short last one.
  const std::int64_t tiles = (count + R - 1) / R;
  // The rows of a tile stay in the L1 cache while all panels are processed; the panels stay in the L2 cache.
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t begin = row_begin + t * count / tiles;
    const int rows = static_cast<int>(row_begin + (t + 1) * count / tiles - begin);
    for (std::int64_t panel = panel_begin; panel < panel_end; ++panel) {
      const std::int64_t column_bytes = args.panel_steps * Step::kBytes;
      const char* weights = static_cast<const char*>(args.weights) + (panel - args.first_panel) * kPanel * column_bytes;
      const std::int64_t column = panel * kPanel, size = size_of(args.out_type);
      TilePrefetch upcoming{static_cast<const char*>(args.out) + (begin * args.ldo + column) * size, args.ldo * size,
                            smaller(kPanel, args.columns - column) * size};
      if (const std::int64_t i = panel - panel_begin; i < args.next_panels) {
        const std::int64_t lines = args.next_steps * kStrip * Step::kBytes / kLine, first = t * lines / tiles;
        upcoming.next = static_cast<const char*>(args.next) + i * kPanel * column_bytes + first * kLine;
        upcoming.next_bytes = ((t + 1) * lines / tiles - first) * kLine;
      }
      typename Step::Sum sums[std::size_t{R * kWide}];
      const char* a = static_cast<const char*>(args.a) + begin * args.lda;
      if constexpr (requires { Step::rows; }) {
        Step::rows(rows, a, args.lda, weights, args.steps, kStrip * column_bytes, sums, upcoming);
      } else {
        tile_of<Step, R>(rows, a, args.lda, weights, args.steps, kStrip * column_bytes, sums, upcoming);
      }
      alignas(64) float values[std::size_t{R * kPanel}];
      epilogue(args, dequantize<Step>(sums, args, begin, rows, column, values), begin, rows, column);
    }
  }
}

template <typename Step>
constexpr GemmKernel gemm_kernel(Precision weights, DType input, Gemm gemm_rows = gemm<Step>) {
  return {{weights, input, kStrip}, gemm_rows, Step::kRows};
}

}  // namespace
