// One step of each product, for the instruction set that this file is compiled for; see gemm.h.
#pragma once

#include <cstring>

#include "kernels/vector.h"

namespace {

inline int four_bytes(const char* p) {
  int v;
  std::memcpy(&v, p, 4);
  return v;
}

#if defined(__AVX512F__)
struct FloatStep {
  using Sum = __m512;
  static constexpr int kRows = 14, kOffset = 0;
  static Sum zero() { return _mm512_setzero_ps(); }
  static Sum step(Sum s, const char* a, Ints w) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_set1_epi32(four_bytes(a))), _mm512_castsi512_ps(w), s);
  }
};
// Pairs of products are added in 16 bits, which 2 * 127 * 127 fits; hence weights of 7 bits.
struct PairStep {
  using Sum = __m512i;
  static constexpr int kRows = 12, kOffset = 64;
  static Sum zero() { return _mm512_setzero_si512(); }
  static Sum dot(Sum s, Ints w, Ints a) {
    return _mm512_add_epi32(s, _mm512_madd_epi16(_mm512_maddubs_epi16(w, a), _mm512_set1_epi16(1)));
  }
  static Sum step(Sum s, const char* a, Ints w) { return dot(s, w, _mm512_set1_epi32(four_bytes(a))); }
};
#if defined(__AVX512VNNI__)
struct DotStep {
  using Sum = __m512i;
  static constexpr int kRows = 14, kOffset = 128;
  static Sum zero() { return _mm512_setzero_si512(); }
  static Sum dot(Sum s, Ints w, Ints a) { return _mm512_dpbusd_epi32(s, w, a); }
  static Sum step(Sum s, const char* a, Ints w) { return dot(s, w, _mm512_set1_epi32(four_bytes(a))); }
};
#endif
#if defined(__AVX512BF16__)
struct BrainStep {
  using Sum = __m512;
  static constexpr int kRows = 14, kOffset = 0;
  static Sum zero() { return _mm512_setzero_ps(); }
  static Sum step(Sum s, const char* a, Ints w) {
    return _mm512_dpbf16_ps(s, (__m512bh)w, (__m512bh)_mm512_set1_epi32(four_bytes(a)));
  }
};
#endif
#else
struct FloatStep {
  using Sum = __m256;
  static constexpr int kRows = 6, kOffset = 0;
  static Sum zero() { return _mm256_setzero_ps(); }
  static Sum step(Sum s, const char* a, Ints w) {
    return _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_set1_epi32(four_bytes(a))), _mm256_castsi256_ps(w), s);
  }
};
struct PairStep {
  using Sum = __m256i;
  static constexpr int kRows = 5, kOffset = 64;
  static Sum zero() { return _mm256_setzero_si256(); }
  static Sum dot(Sum s, Ints w, Ints a) {
    return _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_maddubs_epi16(w, a), _mm256_set1_epi16(1)));
  }
  static Sum step(Sum s, const char* a, Ints w) { return dot(s, w, _mm256_set1_epi32(four_bytes(a))); }
};
#if defined(__AVXVNNI__)
struct DotStep {
  using Sum = __m256i;
  static constexpr int kRows = 6, kOffset = 128;
  static Sum zero() { return _mm256_setzero_si256(); }
  static Sum dot(Sum s, Ints w, Ints a) { return _mm256_dpbusd_avx_epi32(s, w, a); }
  static Sum step(Sum s, const char* a, Ints w) { return dot(s, w, _mm256_set1_epi32(four_bytes(a))); }
};
#endif
#endif

}  // namespace
