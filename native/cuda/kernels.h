// The engine's own kernels: everything between the matrix multiplications and the attention. Pointers are to device
// memory, and calls are queued on `stream`. The references in native/test/cuda/reference_kernels.h define what each
// kernel computes, and the tests compare with them.
#pragma once

#include "image/resize_plan.h"
#include "kernels/kernels.h"
#include "numbers.h"

namespace torchclip::cuda {

using core::Activation;

// Converts images, uint8 [rows, size, size, 3], to the input of a linear layer: [rows * grid * grid, stride] elements
// of `dtype`. Each row is a patch in the order channel, row, column, with zeros from 3 patch^2 to stride, a multiple of
// 8. table: float [3, 256], the value of each byte (core::PixelTable).
void patches(Stream stream, const std::uint8_t* pixels, std::int64_t rows, std::int64_t size, std::int64_t patch,
             std::int64_t stride, const float* table, DType dtype, void* out);

struct NormWeights {
  const float* gamma = nullptr;
  const float* beta = nullptr;  // May be null.
  float eps = 0;
};

// Assembles the residual stream of a ViT: x[r, i] = row + position, normalised if norm.gamma is not null. embedded:
// float [rows * patches, width]; positions: float [patches, width]; token: float [width], the row before the patches,
// or null. x: float [rows, patches + (token ? 1 : 0), width].
void assemble(Stream stream, const float* embedded, const float* positions, const float* token, std::int64_t rows,
              std::int64_t patches, std::int64_t width, const NormWeights& norm, float* x);

// Layer norm (biased variance) of float rows of x with row stride `stride`; `index` selects the rows, or is null. The
// output is packed, of `dtype`. If norm.gamma is null, it only converts.
void layer_norm(Stream stream, const float* x, std::int64_t stride, const std::int32_t* index, std::int64_t rows,
                std::int64_t width, const NormWeights& norm, DType dtype, void* out);

// How a kernel stores its results.
struct NumberFormat {
  DType dtype = DType::f32;
  float scale = 1;  // E4M3 alone: what numbers are multiplied with before they are rounded.
};

// What is still to be added to rows of the residual stream: bf16 [rows, width]. `second` may be null, or both.
struct Deltas {
  const Bf16* first = nullptr;
  const Bf16* second = nullptr;
};

// Layer norm of x + deltas, float [rows, width], to `out`, [rows, width] of `format`: bf16, or E4M3. If `stores`, the
// sum replaces x. `out` may be null, and norm.gamma, as for layer_norm.
void add_norm(Stream stream, float* x, const Deltas& deltas, bool stores, std::int64_t rows, std::int64_t width,
              const NormWeights& norm, const NumberFormat& format, void* out);

// Computes x = activation(x + bias) in place. x: [rows, columns] of `dtype`; bias: [columns], float or `dtype`, or
// null.
void bias_activation(Stream stream, void* x, DType dtype, std::int64_t rows, std::int64_t columns, const void* bias,
                     DType bias_dtype, Activation activation);

// out = x in `format`, E4M3. x: `count` numbers of bf16, a multiple of 16; both 16-byte aligned.
void quantize(Stream stream, const void* x, std::int64_t count, const NumberFormat& format, void* out);

// out = activation(x + bias) in `format`: bf16 or E4M3. x: bf16 [rows, columns], columns a multiple of 16; bias: float
// [columns], 16-byte aligned.
void bias_activation_to(Stream stream, const void* x, std::int64_t rows, std::int64_t columns, const float* bias,
                        Activation activation, const NumberFormat& format, void* out);

// out[r] = x[index[r]], or row r of x if index is null: float [rows, width].
void gather(Stream stream, const float* x, const std::int32_t* index, std::int64_t rows, std::int64_t width,
            float* out);

// Computes the mean of each sequence's rows from `first` on: x float [rows, length, width] to float [rows, width].
void average(Stream stream, const float* x, std::int64_t rows, std::int64_t length, std::int64_t first,
             std::int64_t width, float* out);

// x[t] = embedding[ids[t]] + position[places[t]], float [tokens, width]; embedding: [vocabulary, width] of `dtype`;
// position: float [context, width].
void embed_tokens(Stream stream, const std::int32_t* ids, const std::int32_t* places, std::int64_t tokens,
                  const void* embedding, DType dtype, const float* position, std::int64_t width, float* x);

// Divides each of the float rows [rows, width] by its Euclidean norm, in place.
void normalize(Stream stream, float* rows, std::int64_t count, std::int64_t width);

// Writes numbers in [-1, 1) that depend on their place only: what GEMMs are timed with.
void fill_values(Stream stream, DType dtype, std::int64_t count, void* out);

// Raises difference[0] to the largest |a - b| and difference[1] to the largest |a| of `count` numbers of `dtype`. Both
// begin at 0. Numbers that are equal differ by 0, infinite ones too; where one of the two is NaN, difference[0] becomes
// NaN.
void compare(Stream stream, const void* a, const void* b, DType dtype, std::int64_t count, float* difference);

// One image of a batch to resize: core::ResizePlan with its tables on the device.
struct ResizeJob {
  const std::uint8_t* in;  // [height, width, channels]
  std::uint8_t* between;   // Has room for shape.between_bytes().
  std::uint8_t* out;       // [size, size, 3]; the area outside the window is already filled.
  const core::Taps* x_taps;
  const core::Taps* y_taps;
  const std::int32_t* x_weights;
  const std::int32_t* y_weights;
  core::ResizeShape shape;
};

// Runs both passes of `count` jobs, which are on the device. `most` is the largest number of bytes of any pass of any
// job.
void resize(Stream stream, const ResizeJob* jobs, std::int64_t count, std::int64_t most);

constexpr std::int64_t kMostK = 1024;

// The hits of each query: keys in descending order, with 0 for empty ones. See key_of. The columns are divided into
// `parts`, each with hits of its own, so that few queries keep a whole device busy; merged_hits (search.h) or
// select_keys joins them.
//   scores:    float [queries, columns], row stride `stride`: of base rows first ... first + columns.
//   continues: whether `best` holds the hits of other columns, which stay if they are better.
//   best:      uint64 [queries, parts, k]. k <= kMostK.
void select_top_k(Stream stream, const float* scores, std::int64_t queries, std::int64_t columns, std::int64_t stride,
                  std::int64_t first, std::int32_t k, std::int64_t parts, bool continues, std::uint64_t* best);

// The hits of each query, uint64 best [queries, k], among keys: uint64 [queries, most], of which a query has the first
// counts[query], or all if it has more or `counts` is null. k <= kMostK.
void select_keys(Stream stream, const std::uint64_t* keys, std::int64_t queries, std::int64_t most,
                 const std::int32_t* counts, std::int32_t k, std::uint64_t* best);

// Combines a score and a row into one number with the order of the pair: the higher score first, equal scores by
// ascending row. No pair has key 0, and NaN sorts last.
HOST_DEVICE std::uint64_t key_of(float score, std::uint32_t row) {
  std::uint32_t bits = bits_of(score == 0.0f ? 0.0f : score);  // -0 equals 0
  bits = score != score ? 0 : bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<std::uint64_t>(bits) << 32 | static_cast<std::uint32_t>(~row);
}
HOST_DEVICE std::uint32_t row_of(std::uint64_t key) { return ~static_cast<std::uint32_t>(key); }
HOST_DEVICE float score_of(std::uint64_t key) {
  const auto bits = static_cast<std::uint32_t>(key >> 32);
  return bits == 0 ? float_of(0x7fc00000) : float_of(bits & 0x80000000u ? bits & 0x7fffffffu : ~bits);
}

}  // namespace torchclip::cuda
