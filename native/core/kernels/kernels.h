// The inner loops of the fast CPU runner and of the search, compiled once for each instruction set and chosen at run
// time. A matrix multiplication multiplies rows of A (row-major) by weights that are packed once into panels of 32
// columns. A panel is divided into strips of as many columns as a tile computes at once:
//
//   panel p, strip s, step k, lane l, part g:  weight of column 32 p + strip s + l, row k G + g
//
// A step consumes G elements of A, 4 bytes: 1 float32, 2 bf16 or 4 int8. A row's result does not depend on the other
// rows that are computed with it, so it has the same bits for any batch size.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace torchclip::core {

constexpr std::int64_t kPanel = 32;  // The columns of a panel.

// The type in which weights are stored.
enum class Precision : std::uint8_t { fp32, bf16, fp16, int8 };
enum class Activation : std::uint8_t { none, quick_gelu, gelu, gelu_tanh, relu, silu };

constexpr int kPrecisions = 4;
constexpr const char* name_of(Precision precision) {
  constexpr const char* kNames[kPrecisions] = {"fp32", "bf16", "fp16", "int8"};
  return kNames[static_cast<int>(precision)];
}

// The number of elements of A that one step of a matrix multiplication consumes.
constexpr std::int64_t step_of(DType type) { return 4 / size_of(type); }
constexpr std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

// The operand format of a matrix multiplication.
struct Format {
  Precision weights = Precision::fp32;
  // The element type of the rows of A. Weights of 16 bits are multiplied with float32 if the machine has no
  // instructions for them: the kernel widens them, and the arithmetic is float32.
  DType input = DType::f32;
  std::int64_t strip = kPanel;  // columns

  constexpr bool widens() const {
    return weights == Precision::fp16 || (weights == Precision::bf16 && input == DType::f32);
  }
  constexpr std::int64_t bytes() const { return widens() ? 2 : 4; }  // The bytes of a column's weights in one step.
  constexpr std::int64_t steps(std::int64_t inner) const { return round_up(inner, step_of(input)) / step_of(input); }
};

// out = activation(A x W * scales + bias) + residual, or relu(A x W * scales + bias + residual) as in ResNets, for rows
// [row_begin, row_end) and panels [panel_begin, panel_end).
struct GemmArgs {
  const void* a = nullptr;        // [rows, steps * step_of(type)], row stride lda bytes, zeros beyond the inner size
  std::int64_t lda = 0;           // bytes
  const void* weights = nullptr;  // Packed panels, starting at the first step of panel `first_panel`.
  std::int64_t first_panel = 0;
  std::int64_t steps = 0;        // Of this multiplication: Format::steps of the inner size, or a part of them.
  std::int64_t panel_steps = 0;  // Of the packed weights: the distance between strips and panels.
  // 16-bit weights that the kernel widens: room for scratch_panels x steps x 32 float32 if each panel is to be widened
  // once for all rows; null: it is widened again for each tile of rows.
  float* scratch = nullptr;
  std::int64_t scratch_panels = 0;
  const void* next = nullptr;  // The panels whose weights are needed next, starting at the first step; null: none.
  std::int64_t next_panels = 0, next_steps = 0;
  std::int64_t columns = 0;               // Of W; the last panel may be partly filled.
  const float* bias = nullptr;            // [columns rounded up to 32] or null
  const float* column_scale = nullptr;    // s8 only: [columns rounded up to 32]
  const float* row_scale = nullptr;       // s8 only: [rows]
  const std::int32_t* row_sum = nullptr;  // s8 only: [rows], the sum of each row of A
  Activation activation = Activation::none;
  const float* residual = nullptr;  // [rows, columns] or null; may be `out`
  std::int64_t ldr = 0;             // elements
  void* out = nullptr;              // f32 or bf16 [rows, columns]
  std::int64_t ldo = 0;             // elements
  DType out_type = DType::f32;
};

// Attention of one head over one sequence. Scores, their softmax and all sums are float32.
struct Attention {
  DType type = DType::f32;  // Of q, k, v and the attention weights: f32 or bf16 (`width` even).
  const void *q = nullptr, *k = nullptr, *v = nullptr;  // [queries | keys, width]; q is already divided by sqrt(width)
  std::int64_t ldq = 0, ldk = 0;                        // Row strides in elements; v has the stride of k.
  const std::int32_t* rows = nullptr;                   // The rows of k and v to use as keys; null: 0, 1, 2 ...
  std::int64_t queries = 0, keys = 0, width = 0;
  bool causal = false;  // Query i attends to keys 0 ... keys - queries + i.
  void* out = nullptr;  // f32 or bf16 [queries, width]
  std::int64_t ldo = 0;
  DType out_type = DType::f32;
  float* scratch = nullptr;  // attention_scratch(keys, width) floats
};
constexpr std::int64_t kAttentionRows = 16;
constexpr std::int64_t attention_scratch(std::int64_t keys, std::int64_t width) {
  const auto k = round_up(keys, kPanel), w = round_up(width, kPanel);
  return k * width + k * w + kAttentionRows * (k + w) + 64;
}

// Multiplies rows of int8 (in the format of layer_norm) by few queries at the speed of memory: out[r * kPanel + q],
// with zeros for q >= count. The bits equal those of a GemmArgs.
struct Int8Dots {
  const char* data = nullptr;  // [rows, stride], zeros beyond the inner size; stride in bytes, a multiple of 4
  std::int64_t stride = 0, rows = 0;
  const float* scales = nullptr;       // Of each row.
  const std::int32_t* sums = nullptr;  // Of each row.
  // [count, query_stride]: round(x / scale) + weight_max + 1, and the value of a zero beyond the inner size.
  // query_stride is a multiple of 64 bytes.
  const std::uint8_t* queries = nullptr;
  std::int64_t query_stride = 0, count = 0;
  const float* query_scales = nullptr;
  float* out = nullptr;
};

// One line of the result of a depthwise convolution, which has one filter for each channel. The image is surrounded by
// kernel / 2 zeros. Features hold the channels of a pixel side by side.
struct DepthwiseLine {
  std::int64_t kernel = 0, stride = 0;  // 3 or 7; 1 or 2
  const float* const* lines = nullptr;  // The `kernel` lines that are read, [width, channels]; null: outside the image.
  std::int64_t width = 0, channels = 0;  // Of the input.
  const float* weights = nullptr;        // [kernel * kernel, channels]
  const float* bias = nullptr;           // [channels]
  float* out = nullptr;                  // [depthwise_side(width, stride), channels]
  std::int64_t ldo = 0;                  // elements
};
constexpr std::int64_t depthwise_side(std::int64_t side, std::int64_t stride) { return (side - 1) / stride + 1; }

// A product of row-major matrices that are read where they lie: out[r][c] = sum over k of a[r][k] b[k][c], where
// element [r][k] of A stands at a + r * a_row + k * a_inner; a_row = 1 reads a transposed matrix.
constexpr std::int64_t kProductColumns = 16;  // `columns` is a multiple of it; the caller pads with zeros.
template <typename T>
struct ProductArgs {
  const T* a = nullptr;
  std::int64_t a_row = 0, a_inner = 1;  // elements
  const T* b = nullptr;                 // [inner, columns]
  std::int64_t ldb = 0;                 // elements
  T* out = nullptr;                     // [rows, columns]
  std::int64_t ldo = 0;                 // elements
  std::int64_t rows = 0, columns = 0, inner = 0;
  bool add = false;  // Adds to `out` instead of replacing it.
};

using Gemm = void (*)(const GemmArgs&, std::int64_t row_begin, std::int64_t row_end, std::int64_t panel_begin,
                      std::int64_t panel_end);
struct GemmKernel {
  Format format;
  Gemm gemm;
  std::int32_t tile_rows;  // The rows of one register tile.
};

using Attend = void (*)(const Attention&);
using Widen = void (*)(const std::uint16_t* from, std::int64_t count, float* to);

// Functions that are the same for all precisions.
struct Functions {
  // Normalises rows of x [rows, width] (stride ldx; biased variance, as torch.layer_norm) into out, of `type`, with row
  // stride ldo in bytes. For s8 it also writes the scale and the sum of each row. If gamma is null, it only converts.
  void (*layer_norm)(const float* x, std::int64_t ldx, std::int64_t rows, std::int64_t width, const float* gamma,
                     const float* beta, float eps, DType type, void* out, std::int64_t ldo, float* scales,
                     std::int32_t* sums);
  // Winograd's F(2 x 2, 3 x 3). taps: the 16 pixels of a 4 x 4 patch, [channels] each; out[i * distance + c]: the
  // inputs of the 16 products.
  void (*winograd_input)(const float* const* taps, std::int64_t channels, float* out, std::int64_t distance);
  // Converts products[i * distance + c] to four pixels (row, column), relu(sum + bias). A null pixel is outside the
  // image.
  void (*winograd_output)(const float* products, std::int64_t distance, std::int64_t channels, const float* bias,
                          float* const* pixels);
  void (*depthwise)(const DepthwiseLine&);
  // out = gelu(x * gates) for rows of x [rows, width] (stride ldx), as f32 or bf16 with row stride ldo in bytes. gates:
  // [width], or null for ones.
  void (*gated_gelu)(const float* x, std::int64_t ldx, std::int64_t rows, std::int64_t width, const float* gates,
                     DType type, void* out, std::int64_t ldo);
  // Passes each score of scores[rows][32] that is at least its column's limit to `found`, which may raise the limits.
  void (*scan)(const float* scores, std::int64_t rows, const float* limits, void* state,
               void (*found)(void* state, std::int64_t row, int column, float score));
  // out[q * ldo + r] = base[r] . queries[q], for fp32 [rows, dim] and [count, dim] with few queries, at the speed of
  // memory.
  void (*dots)(const float* base, std::int64_t rows, std::int64_t dim, const float* queries, std::int64_t count,
               float* out, std::int64_t ldo);
  void (*int8_dots)(const Int8Dots&);
  // Widen 16-bit numbers to float32.
  Widen widen_bf16, widen_fp16;
  void (*product_f32)(const ProductArgs<float>&);
  void (*product_f64)(const ProductArgs<double>&);
};

struct Kernels : Functions {
  const char* name;               // "plain", "avx2", "neon" ...
  std::int32_t weight_max;        // The largest magnitude of an int8 weight: 127, or 63 if sums of pairs have 16 bits.
  GemmKernel gemms[kPrecisions];  // Indexed by Precision.
  Attend attention[2];            // Indexed by DType; null for bf16 if the linear layers do not take it.
  const GemmKernel& gemm(Precision precision) const { return gemms[static_cast<int>(precision)]; }
};

// Returns the best table for this machine; never null, because plain C++ is the fallback without AVX2.
// TORCHCLIP_ISA=avx2 | avx2_vnni | avx512 | avx512_bf16 | none, on ARM64 neon | neon_dot | neon_i8mm | none, limits the
// choice; none selects plain C++.
const Kernels* kernels();

// Packs `rows` rows of w [rows, inner] (row stride ld) as panel `panel` of a packed matrix. For int8 a row w is stored
// as round(w / scale) with scale = max |w| / weight_max, and its scale is written to scales[32]; other
// weights have no scales. Columns from `rows` on are zero.
void pack_panel(const float* w, std::int64_t ld, std::int64_t rows, std::int64_t inner, const Format& format,
                std::int32_t weight_max, std::int64_t panel, void* packed, float* scales);

// Rounds to nearest, ties to even.
std::uint16_t to_bf16(float x);
std::uint16_t to_fp16(float x);

}  // namespace torchclip::core
