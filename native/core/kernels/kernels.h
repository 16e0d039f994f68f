// The inner loops of the fast CPU runner and of the search, compiled once for each instruction set and chosen at run
// time. A matrix product multiplies rows of A (row-major) with weights packed once into panels of 32 columns, which are
// strips of as many columns as a tile has at a time:
//
//   panel p, strip s, step k, lane l, part g:  weight of column 32 p + strip s + l, row k G + g
//
// G elements of A, 4 bytes, are a step: 1 float32, 2 bf16 or 4 int8. A row's result does not depend on which other rows
// are computed with it: the same bits for any batch size.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace torchclip::core {

constexpr std::int64_t kPanel = 32;  // columns of a panel

// What weights are stored as.
enum class Precision : std::uint8_t { fp32, bf16, fp16, int8 };
enum class Activation : std::uint8_t { none, quick_gelu, gelu, gelu_tanh, relu, silu };

constexpr int kPrecisions = 4;
constexpr const char* name_of(Precision precision) {
  constexpr const char* kNames[kPrecisions] = {"fp32", "bf16", "fp16", "int8"};
  return kNames[static_cast<int>(precision)];
}

// Elements of A that one step of a product consumes.
constexpr std::int64_t step_of(DType type) { return 4 / size_of(type); }
constexpr std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

// How a product takes its operands.
struct Format {
  Precision weights = Precision::fp32;
  // Of the rows of A. Weights of 16 bits meet float32 where the machine has no instructions for them: the kernel widens
  // them, and the arithmetic is float32's.
  DType input = DType::f32;
  std::int64_t strip = kPanel;  // columns

  constexpr bool widens() const {
    return weights == Precision::fp16 || (weights == Precision::bf16 && input == DType::f32);
  }
  constexpr std::int64_t bytes() const { return widens() ? 2 : 4; }  // of the weights of a column in one step
  constexpr std::int64_t steps(std::int64_t inner) const { return round_up(inner, step_of(input)) / step_of(input); }
};

// out = activation(A x W * scales + bias) + residual, or relu(A x W * scales + bias + residual) as ResNets have it, for
// rows [row_begin, row_end) and panels [panel_begin, panel_end).
struct Product {
  const void* a = nullptr;        // [rows, steps * step_of(type)], row stride lda bytes, zeros past the inner size
  std::int64_t lda = 0;           // bytes
  const void* weights = nullptr;  // packed panels, from the first step on
  std::int64_t steps = 0;         // of this product: Format::steps of the inner size, or a part of them
  std::int64_t panel_steps = 0;   // of the packed weights: the distance between strips and panels
  const void* next = nullptr;     // panels whose weights are needed after these, from the first step on; null: none
  std::int64_t next_panels = 0, next_steps = 0;
  std::int64_t columns = 0;               // of W; the last panel may be partly filled
  const float* bias = nullptr;            // [columns rounded up to 32] or null
  const float* column_scale = nullptr;    // s8 alone: [columns rounded up to 32]
  const float* row_scale = nullptr;       // s8 alone: [rows]
  const std::int32_t* row_sum = nullptr;  // s8 alone: [rows], the sum of each row of A
  Activation activation = Activation::none;
  const float* residual = nullptr;  // [rows, columns] or null; may be `out`
  std::int64_t ldr = 0;             // elements
  void* out = nullptr;              // f32 or bf16 [rows, columns]
  std::int64_t ldo = 0;             // elements
  DType out_type = DType::f32;
};

// Attention of one head over one sequence. Scores, their softmax and all sums are float32.
struct Attention {
  DType type = DType::f32;  // of q, k and v, and of the weights that v is multiplied with: f32 or bf16 (`width` even)
  const void *q = nullptr, *k = nullptr, *v = nullptr;  // [queries | keys, width]; q is already divided by sqrt(width)
  std::int64_t ldq = 0, ldk = 0;                        // row strides, elements; v has that of k
  const std::int32_t* rows = nullptr;                   // the rows of k and v that are the keys; null: 0, 1, 2 ...
  std::int64_t queries = 0, keys = 0, width = 0;
  bool causal = false;  // query i sees keys 0 ... keys - queries + i
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

// Rows of int8 (as layer_norm makes them) by few queries, at the speed of memory: out[r * kPanel + q], zeros for q from
// `count` on; the same bits as by a Product.
struct Int8Dots {
  const char* data = nullptr;  // [rows, stride], zeros past the inner size; stride: bytes, a multiple of 4
  std::int64_t stride = 0, rows = 0;
  const float* scales = nullptr;       // of each row
  const std::int32_t* sums = nullptr;  // of each row
  // [count, query_stride]: round(x / scale) + weight_max + 1, that of a zero past the inner size; a multiple of 64
  // bytes.
  const std::uint8_t* queries = nullptr;
  std::int64_t query_stride = 0, count = 0;
  const float* query_scales = nullptr;
  float* out = nullptr;
};

using Multiply = void (*)(const Product&, std::int64_t row_begin, std::int64_t row_end, std::int64_t panel_begin,
                          std::int64_t panel_end);
struct ProductKernel {
  Format format;
  Multiply multiply;
  std::int32_t tile_rows;  // rows of one register tile
};

using Attend = void (*)(const Attention&);
using Widen = void (*)(const std::uint16_t* from, std::int64_t count, float* to);

// What is done in one way for all precisions.
struct Functions {
  // rows of x [rows, width] (stride ldx) normalised (biased variance, as torch.layer_norm) into out, of `type`, row
  // stride ldo bytes; for s8 also the scale and sum of each row. gamma null: no norm, only the conversion.
  void (*layer_norm)(const float* x, std::int64_t ldx, std::int64_t rows, std::int64_t width, const float* gamma,
                     const float* beta, float eps, DType type, void* out, std::int64_t ldo, float* scales,
                     std::int32_t* sums);
  // Winograd's F(2 x 2, 3 x 3). taps: the 16 pixels of a 4 x 4 patch, [channels] each; out[i * distance + c]: the
  // inputs of the 16 products.
  void (*winograd_input)(const float* const* taps, std::int64_t channels, float* out, std::int64_t distance);
  // products[i * distance + c] to four pixels (line, column), relu(sum + bias); null: outside the image.
  void (*winograd_output)(const float* products, std::int64_t distance, std::int64_t channels, const float* bias,
                          float* const* pixels);
  // Each score of scores[rows][32] that is at least its column's limit is given to `found` (which may raise the
  // limits).
  void (*scan)(const float* scores, std::int64_t rows, const float* limits, void* state,
               void (*found)(void* state, std::int64_t row, int column, float score));
  // out[q * ldo + r] = base[r] . queries[q]: fp32 [rows, dim] and [count, dim], for few queries, at the speed of
  // memory.
  void (*dots)(const float* base, std::int64_t rows, std::int64_t dim, const float* queries, std::int64_t count,
               float* out, std::int64_t ldo);
  void (*int8_dots)(const Int8Dots&);
  // Numbers of 16 bits as float32.
  Widen widen_bf16, widen_fp16;
};

struct Kernels : Functions {
  const char* name;         // "plain", "avx2", "avx512" ...
  std::int32_t weight_max;  // largest magnitude of an int8 weight: 127, or 63 where sums of pairs are 16 bits wide
  ProductKernel products[kPrecisions];  // by Precision
  Attend attention[2];                  // by DType; null for bf16 where products do not take it
  const ProductKernel& product(Precision precision) const { return products[static_cast<int>(precision)]; }
};

// The best table for this machine; never null: plain C++ where there is no AVX2. TORCHCLIP_ISA=avx2 | avx512 | ... |
// none lowers it; none is plain C++.
const Kernels* kernels();

// `rows` rows of w [rows, inner] (row stride ld) as panel `panel` of a packed matrix. For int8 a row w is stored as
// round(w / scale) with scale = max |w| / weight_max, and its scale goes to scales[32]; columns past `rows` are zero.
void pack_panel(const float* w, std::int64_t ld, std::int64_t rows, std::int64_t inner, const Format& format,
                std::int32_t weight_max, std::int64_t panel, void* packed, float* scales);

// Rounded to nearest, ties to even.
std::uint16_t to_bf16(float x);
std::uint16_t to_fp16(float x);

}  // namespace torchclip::core
