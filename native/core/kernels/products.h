// Products of plain row-major matrices in float32 and float64, compiled for one instruction set. The matrices are read
// where they lie, so that a product with a transposed matrix needs no copy of it. A register tile takes kTileRows rows
// and up to three registers of columns; every element is summed in the order of the inner dimension in every
// tile, so that it has the same bits in any partition of the result.
#pragma once

#include "kernels/kernels.h"
#include "kernels/vector.h"

namespace {

using torchclip::core::kProductColumns;
using torchclip::core::ProductArgs;

#if defined(__AVX512F__)
using Doubles = __m512d;
inline Doubles load(const double* p) { return _mm512_loadu_pd(p); }
inline void store(double* p, Doubles v) { _mm512_storeu_pd(p, v); }
inline Doubles all(double x) { return _mm512_set1_pd(x); }
inline Doubles fma(Doubles a, Doubles b, Doubles c) { return _mm512_fmadd_pd(a, b, c); }
constexpr int kTileRows = 8;
#elif defined(__AVX2__)
using Doubles = __m256d;
inline Doubles load(const double* p) { return _mm256_loadu_pd(p); }
inline void store(double* p, Doubles v) { _mm256_storeu_pd(p, v); }
inline Doubles all(double x) { return _mm256_set1_pd(x); }
inline Doubles fma(Doubles a, Doubles b, Doubles c) { return _mm256_fmadd_pd(a, b, c); }
constexpr int kTileRows = 4;
#elif defined(TORCHCLIP_NEON)
using Doubles = float64x2_t;
inline Doubles load(const double* p) { return vld1q_f64(p); }
inline void store(double* p, Doubles v) { vst1q_f64(p, v); }
inline Doubles all(double x) { return vdupq_n_f64(x); }
inline Doubles fma(Doubles a, Doubles b, Doubles c) { return vfmaq_f64(c, a, b); }
constexpr int kTileRows = 8;
#else
using Doubles = double __attribute__((vector_size(16)));
inline Doubles load(const double* p) {
  Doubles a;
  std::memcpy(&a, p, sizeof a);
  return a;
}
inline void store(double* p, Doubles v) { std::memcpy(p, &v, sizeof v); }
inline Doubles all(double x) { return Doubles{x, x}; }
inline Doubles fma(Doubles a, Doubles b, Doubles c) { return a * b + c; }
constexpr int kTileRows = 4;
#endif

constexpr int kTileRegisters = 3;  // of columns

template <typename T>
constexpr int kLanesOf = static_cast<int>(sizeof(Floats) / sizeof(T));

// R rows by C registers of columns, from `row` and `column` on.
template <typename T, int R, int C>
[[gnu::noinline]] void product_tile(const ProductArgs<T>& args, std::int64_t row, std::int64_t column) {
  using Lanes = decltype(all(T{}));
  Lanes sum[std::size_t{R}][std::size_t{C}];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 3
    for (int c = 0; c < C; ++c) sum[r][c] = all(T{});
  }
  const T* a = args.a + row * args.a_row;
  const T* b = args.b + column;
  for (std::int64_t k = 0; k < args.inner; ++k, a += args.a_inner, b += args.ldb) {
    Lanes weights[std::size_t{C}];
#pragma GCC unroll 3
    for (int c = 0; c < C; ++c) weights[c] = load(b + c * kLanesOf<T>);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Lanes x = all(a[r * args.a_row]);
#pragma GCC unroll 3
      for (int c = 0; c < C; ++c) sum[r][c] = fma(x, weights[c], sum[r][c]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    T* out = args.out + (row + r) * args.ldo + column;
#pragma GCC unroll 3
    for (int c = 0; c < C; ++c) {
      T* to = out + c * kLanesOf<T>;
      store(to, args.add ? load(to) + sum[r][c] : sum[r][c]);
    }
  }
}

template <typename T, int R, int C>
void product_rows(const ProductArgs<T>& args, std::int64_t row, std::int64_t column) {
  const std::int64_t left = args.rows - row;
  if (left <= 0) return;
  if constexpr (R > 1) {
    if (left < R) return product_rows<T, R - 1, C>(args, row, column);
  }
  product_tile<T, R, C>(args, row, column);
}

// All rows of a strip of C registers.
template <typename T, int C>
void product_strip(const ProductArgs<T>& args, std::int64_t column) {
  for (std::int64_t row = 0; row < args.rows; row += kTileRows) product_rows<T, kTileRows, C>(args, row, column);
}

template <typename T>
void product(const ProductArgs<T>& args) {
  constexpr std::int64_t kStripColumns = kTileRegisters * kLanesOf<T>;
  static_assert(kProductColumns % kLanesOf<T> == 0);
  std::int64_t column = 0;
  for (; column + kStripColumns <= args.columns; column += kStripColumns) {
    product_strip<T, kTileRegisters>(args, column);
  }
  for (; column < args.columns; column += kLanesOf<T>) product_strip<T, 1>(args, column);
}

}  // namespace
