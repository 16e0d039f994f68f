// The inner loops of the fast CPU runner and of the search, compiled once for each instruction set and chosen at run
// time. A matrix product multiplies rows of A (row-major) with weights packed once into panels of 32 columns:
//
//   panel p, step k, lane l, part g:  weight of column 32 p + l, row k G + g     G = 1 fp32, 2 bf16, 4 int8
//
// so that one step reads 128 bytes of weights and 4 bytes of each row of A, whatever the type, and a row's result
// does not depend on which other rows are computed with it: the same bits for any batch size.
#pragma once

#include <cstdint>

namespace torchclip::core {

constexpr std::int64_t kPanel = 32;  // columns of a panel

enum class Type : std::uint8_t { f32, bf16, s8 };
enum class Activation : std::uint8_t { none, quick_gelu, gelu, gelu_tanh, relu, silu };

// Elements of A that one step of a product consumes.
constexpr std::int64_t step_of(Type type) { return type == Type::f32 ? 1 : type == Type::bf16 ? 2 : 4; }
constexpr std::int64_t size_of(Type type) { return 4 / step_of(type); }
constexpr std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

// out = activation(A x W * scales + bias) + residual, or relu(A x W * scales + bias + residual) as ResNets have it, for
// rows [row_begin, row_end) and panels [panel_begin, panel_end).
struct Product {
  const void* a = nullptr;             // [rows, steps * step_of(type)], row stride lda bytes, zeros past the inner size
  std::int64_t lda = 0;                // bytes
  const void* weights = nullptr;       // packed panels
  std::int64_t steps = 0;              // of this product: inner size / step_of(type), rounded up, or a part of them
  std::int64_t panelSteps = 0;         // of the packed weights: the distance between panels
  std::int64_t columns = 0;            // of W; the last panel may be partly filled
  const float* bias = nullptr;         // [columns rounded up to 32] or null
  const float* columnScale = nullptr;  // s8 alone: [columns rounded up to 32]
  const float* rowScale = nullptr;     // s8 alone: [rows]
  const std::int32_t* rowSum = nullptr;  // s8 alone: [rows], the sum of each row of A
  Activation activation = Activation::none;
  const float* residual = nullptr;  // [rows, columns] or null; may be `out`
  std::int64_t ldr = 0;             // elements
  void* out = nullptr;              // f32 or bf16 [rows, columns]
  std::int64_t ldo = 0;             // elements
  Type outType = Type::f32;
};

// Attention of one head over one sequence. Scores, their softmax and all sums are float32.
struct Attention {
  Type type = Type::f32;  // of q, k and v, and of the weights that v is multiplied with: f32 or bf16 (`width` even)
  const void *q = nullptr, *k = nullptr, *v = nullptr;  // [queries | keys, width]; q is already divided by sqrt(width)
  std::int64_t ldq = 0, ldk = 0;                        // row strides, elements; v has that of k
  const std::int32_t* rows = nullptr;                   // the rows of k and v that are the keys; null: 0, 1, 2 ...
  std::int64_t queries = 0, keys = 0, width = 0;
  bool causal = false;  // query i sees keys 0 ... keys - queries + i
  void* out = nullptr;  // f32 or bf16 [queries, width]
  std::int64_t ldo = 0;
  Type outType = Type::f32;
  float* scratch = nullptr;  // attention_scratch(keys, width) floats
};
constexpr std::int64_t kAttentionRows = 16;
constexpr std::int64_t attention_scratch(std::int64_t keys, std::int64_t width) {
  const auto k = round_up(keys, kPanel), w = round_up(width, kPanel);
  return k * width + k * w + kAttentionRows * (k + w) + 64;
}

// Rows of int8 (as layerNorm makes them) by few queries, at the speed of memory: out[r * kPanel + q], zeros for q from
// `count` on; the same bits as by a Product.
struct ByteDots {
  const char* data = nullptr;  // [rows, stride], zeros past the inner size; stride: bytes, a multiple of 4
  std::int64_t stride = 0, rows = 0;
  const float* scales = nullptr;       // of each row
  const std::int32_t* sums = nullptr;  // of each row
  // [count, queryStride]: round(x / scale) + weightMax + 1, that of a zero past the inner size; a multiple of 64 bytes.
  const std::uint8_t* queries = nullptr;
  std::int64_t queryStride = 0, count = 0;
  const float* queryScales = nullptr;
  float* out = nullptr;
};

struct Kernels {
  const char* name;          // "avx2", "avx512" ...
  const char* types;         // what is fast in hardware: "fp32, bf16 (avx512_bf16), int8 (avx512_vnni)"
  std::int32_t tileRows[3];  // rows of one register tile, by Type
  std::int32_t weightMax;    // largest magnitude of an int8 weight: 127, or 63 where sums of pairs are 16 bits wide
  using Multiply = void (*)(const Product&, std::int64_t row_begin, std::int64_t row_end, std::int64_t panel_begin,
                            std::int64_t panel_end);
  Multiply multiply[3];  // by Type; null where this machine has no instructions for it

  // rows of x [rows, width] (stride ldx) normalised (biased variance, as torch.layer_norm) into out, of `type`, row
  // stride ldo bytes; for s8 also the scale and sum of each row. gamma null: no norm, only the conversion.
  void (*layerNorm)(const float* x, std::int64_t ldx, std::int64_t rows, std::int64_t width, const float* gamma,
                    const float* beta, float eps, Type type, void* out, std::int64_t ldo, float* scales,
                    std::int32_t* sums);
  using Attend = void (*)(const Attention&);
  Attend attention[2];  // by Type; null where `multiply` is
  // Winograd's F(2 x 2, 3 x 3). taps: the 16 pixels of a 4 x 4 patch, [channels] each; out[i * distance + c]: the
  // inputs of the 16 products.
  void (*winogradInput)(const float* const* taps, std::int64_t channels, float* out, std::int64_t distance);
  // products[i * distance + c] to four pixels (line, column), relu(sum + bias); null: outside the picture.
  void (*winogradOutput)(const float* products, std::int64_t distance, std::int64_t channels, const float* bias,
                         float* const* pixels);
  // Each score of scores[rows][32] that is at least its column's limit is given to `found` (which may raise the
  // limits).
  void (*scan)(const float* scores, std::int64_t rows, const float* limits, void* state,
               void (*found)(void* state, std::int64_t row, int column, float score));
  // out[q * ldo + r] = base[r] . queries[q]: fp32 [rows, dim] and [count, dim], for few queries, at the speed of
  // memory.
  void (*dots)(const float* base, std::int64_t rows, std::int64_t dim, const float* queries, std::int64_t count,
               float* out, std::int64_t ldo);
  void (*byteDots)(const ByteDots&);
};

// The best table for this machine, or null where it has not even AVX2 and FMA. TORCHCLIP_ISA=avx2 | avx512 | none
// lowers it.
const Kernels* kernels();

// `rows` rows of w [rows, inner] (row stride ld) as panel `panel` of a packed matrix of `type`. For s8 a row w is
// stored as round(w / scale) with scale = max |w| / weight_max, and its scale goes to scales[32]; columns past `rows`
// are zero.
void pack_panel(const float* w, std::int64_t ld, std::int64_t rows, std::int64_t inner, Type type,
                std::int32_t weight_max, std::int64_t panel, void* packed, float* scales);

std::uint16_t to_bf16(float x);  // round to nearest, ties to even

}  // namespace torchclip::core
