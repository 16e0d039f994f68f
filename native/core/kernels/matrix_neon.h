// Matrix multiplication by USMMLA and BFMMLA, instructions that multiply two columns of weights by two rows of A, of 8
// bytes each, and add the 2 x 2 products to a register. 8 bytes are two steps of the panel's layout (kernels.h).
#pragma once

#include "kernels/gemm.h"
#include "kernels/steps_neon.h"

namespace {

// The weights of 8 columns in two steps, two columns a register.
struct ColumnPairs {
  Ints pair[4];
};
// `first` and `second`: the weights of the two steps, 4 bytes a column.
inline ColumnPairs column_pairs(Pair first, Pair second) {
  return {{vzip1q_s32(first.first, second.first), vzip2q_s32(first.first, second.first),
           vzip1q_s32(first.second, second.second), vzip2q_s32(first.second, second.second)}};
}

// Two steps of two rows of A.
inline Ints row_pair(const char* first, const char* second) {
  const auto* x = reinterpret_cast<const std::uint8_t*>(first);
  const auto* y = reinterpret_cast<const std::uint8_t*>(second);
  return vreinterpretq_s32_u8(vcombine_u8(vld1_u8(x), vld1_u8(y)));
}

// One step of two rows of A, and zeros in the place of the second step.
inline Ints last_row_pair(const char* first, const char* second) {
  return Ints{four_bytes(first), 0, four_bytes(second), 0};
}

inline Ints even_lanes(Ints a, Ints b) { return vuzp1q_s32(a, b); }
inline Ints odd_lanes(Ints a, Ints b) { return vuzp2q_s32(a, b); }
inline Floats even_lanes(Floats a, Floats b) { return vuzp1q_f32(a, b); }
inline Floats odd_lanes(Floats a, Floats b) { return vuzp2q_f32(a, b); }

template <typename Step, int RowPairs>
void add_products(typename Step::Sum (&sum)[RowPairs][4], const ColumnPairs& columns, const Ints (&rows)[RowPairs]) {
#pragma GCC unroll 4
  for (int r = 0; r < RowPairs; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) sum[r][c] = Step::multiply_pairs(sum[r][c], columns.pair[c], rows[r]);
  }
}

// Multiplies `rows` rows of A by the 8 columns of a strip. If their number is odd, the last row stands in for the
// missing one. out[r * kWide + i] are the sums of row r and columns 4 i to 4 i + 3.
template <typename Step, int RowPairs>
[[gnu::noinline]] void matrix_strip(int rows, const char* a, std::int64_t lda, const char* weights, std::int64_t steps,
                                    typename Step::Sum* out) {
  constexpr std::int64_t kStepBytes = kStrip * Step::kBytes;
  const char* row[2 * RowPairs];
  for (int r = 0; r < 2 * RowPairs; ++r) row[r] = a + (r < rows ? r : rows - 1) * lda;
  typename Step::Sum sum[RowPairs][4];
#pragma GCC unroll 4
  for (int r = 0; r < RowPairs; ++r) sum[r][0] = sum[r][1] = sum[r][2] = sum[r][3] = Step::zero();
  Ints pairs[RowPairs];
  std::int64_t k = 0;
  for (; k + 2 <= steps; k += 2, weights += 2 * kStepBytes) {
#pragma GCC unroll 4
    for (int r = 0; r < RowPairs; ++r) pairs[r] = row_pair(row[2 * r] + 4 * k, row[2 * r + 1] + 4 * k);
    add_products<Step>(sum, column_pairs(Step::weights(weights), Step::weights(weights + kStepBytes)), pairs);
  }
  if (k < steps) {
#pragma GCC unroll 4
    for (int r = 0; r < RowPairs; ++r) pairs[r] = last_row_pair(row[2 * r] + 4 * k, row[2 * r + 1] + 4 * k);
    add_products<Step>(sum, column_pairs(Step::weights(weights), {all_ints(0), all_ints(0)}), pairs);
  }
  // A register holds (column 0, row 0), (column 0, row 1), (column 1, row 0), (column 1, row 1).
#pragma GCC unroll 4
  for (int r = 0; r < RowPairs; ++r) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      out[2 * r * kWide + i] = even_lanes(sum[r][2 * i], sum[r][2 * i + 1]);
      if (2 * r + 1 < rows) out[(2 * r + 1) * kWide + i] = odd_lanes(sum[r][2 * i], sum[r][2 * i + 1]);
    }
  }
}

template <typename Step, int RowPairs>
void matrix_rows(int rows, const char* a, std::int64_t lda, const char* weights, std::int64_t steps,
                 std::int64_t distance, typename Step::Sum* out) {
  if constexpr (RowPairs > 1) {
    if (rows <= 2 * RowPairs - 2) {
      return matrix_rows<Step, RowPairs - 1>(rows, a, lda, weights, steps, distance, out);
    }
  }
  for (int strip = 0; strip < kStrips; ++strip) {
    matrix_strip<Step, RowPairs>(rows, a, lda, weights + strip * distance, steps, out + 2 * strip);
  }
}

// Nothing is prefetched: whether that helps has not been measured.
template <typename Own, typename SumRegister>
struct MatrixStep : WholeWeights {
  using Sum = SumRegister;
  static constexpr int kRows = 8;
  static void rows(int count, const char* a, std::int64_t lda, const char* weights, std::int64_t steps,
                   std::int64_t distance, Sum* out, const TilePrefetch&) {
    matrix_rows<Own, kRows / 2>(count, a, lda, weights, steps, distance, out);
  }
};

#if defined(__ARM_FEATURE_MATMUL_INT8)
// Unsigned weights by signed rows.
struct Int8MatrixStep : MatrixStep<Int8MatrixStep, Ints> {
  static constexpr int kOffset = 128;
  static Sum zero() { return all_ints(0); }
  static Sum multiply_pairs(Sum s, Ints columns, Ints rows) {
    return vusmmlaq_s32(s, vreinterpretq_u8_s32(columns), vreinterpretq_s8_s32(rows));
  }
};
#endif

#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
struct Bf16MatrixStep : MatrixStep<Bf16MatrixStep, Floats> {
  static constexpr int kOffset = 0;
  static Sum zero() { return all(0.0f); }
  static Sum multiply_pairs(Sum s, Ints columns, Ints rows) {
    return vbfmmlaq_f32(s, vreinterpretq_bf16_s32(columns), vreinterpretq_bf16_s32(rows));
  }
};
#endif

}  // namespace
