// One register of floats, for the instruction set that this file is compiled for. Included by the kernel sources alone;
// everything is in the unnamed namespace, so that no inline function of one instruction set is ever linked into
// another.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
using Floats = __m512;
using Ints = __m512i;
inline Floats load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
inline Floats all(float x) { return _mm512_set1_ps(x); }
inline Floats zero() { return _mm512_setzero_ps(); }
inline Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats max_of(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats min_of(Floats a, Floats b) { return _mm512_min_ps(a, b); }
inline Floats magnitude(Floats a) { return _mm512_abs_ps(a); }
inline Ints to_ints(Floats a) { return _mm512_cvtps_epi32(a); }
inline Floats to_floats(Ints a) { return _mm512_cvtepi32_ps(a); }
inline Floats nearest(Floats a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Floats scaled(Floats a, Floats n) { return _mm512_scalef_ps(a, n); }  // a 2^n
// a / b: the reciprocal to 14 bits and a step of Newton's, below 2e-7 off; a division takes three times as long.
inline Floats divide(Floats a, Floats b) {
  const Floats r = _mm512_rcp14_ps(b);
  return _mm512_mul_ps(a, _mm512_mul_ps(r, _mm512_fnmadd_ps(b, r, _mm512_set1_ps(2.0f))));
}
inline float sum_of(Floats a) { return _mm512_reduce_add_ps(a); }
inline float max_of(Floats a) { return _mm512_reduce_max_ps(a); }
inline std::int32_t sum_of(Ints a) { return _mm512_reduce_add_epi32(a); }
inline Ints add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
inline Ints all_ints(std::int32_t x) { return _mm512_set1_epi32(x); }
inline void store(std::int32_t* p, Ints a) { _mm512_storeu_si512(p, a); }
inline Ints load_first(const std::int32_t* p, std::int64_t count) {  // zeros past the first `count`
  return _mm512_maskz_loadu_epi32(static_cast<__mmask16>(count < kLanes ? (1u << count) - 1 : 0xffffu), p);
}
inline Ints unpack_low(Ints a, Ints b) { return _mm512_unpacklo_epi32(a, b); }
inline Ints unpack_high(Ints a, Ints b) { return _mm512_unpackhi_epi32(a, b); }
inline Ints unpack_low_pairs(Ints a, Ints b) { return _mm512_unpacklo_epi64(a, b); }
inline Ints unpack_high_pairs(Ints a, Ints b) { return _mm512_unpackhi_epi64(a, b); }
inline void store_bytes(std::int8_t* p, Ints a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
}
inline void store_bf16(std::uint16_t* p, Floats a) {  // round to nearest, ties to even
  const Ints bits = _mm512_castps_si512(a);
  const Ints odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const Ints rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}
#else
constexpr int kLanes = 8;
using Floats = __m256;
using Ints = __m256i;
inline Floats load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, Floats v) { _mm256_storeu_ps(p, v); }
inline Floats all(float x) { return _mm256_set1_ps(x); }
inline Floats zero() { return _mm256_setzero_ps(); }
inline Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats max_of(Floats a, Floats b) { return _mm256_max_ps(a, b); }
inline Floats min_of(Floats a, Floats b) { return _mm256_min_ps(a, b); }
inline Floats magnitude(Floats a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
inline Ints to_ints(Floats a) { return _mm256_cvtps_epi32(a); }
inline Floats to_floats(Ints a) { return _mm256_cvtepi32_ps(a); }
inline Floats nearest(Floats a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Floats scaled(Floats a, Floats n) {  // a 2^n, for n in -126 to 127
  const Ints exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}
inline Floats divide(Floats a, Floats b) { return _mm256_div_ps(a, b); }
inline float sum_of(Floats a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline float max_of(Floats a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
inline std::int32_t sum_of(Ints a) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
}
inline Ints add(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
inline Ints all_ints(std::int32_t x) { return _mm256_set1_epi32(x); }
inline void store(std::int32_t* p, Ints a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a); }
inline Ints load_first(const std::int32_t* p, std::int64_t count) {
  if (count >= kLanes) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  const Ints lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_epi32(p, _mm256_cmpgt_epi32(all_ints(static_cast<std::int32_t>(count)), lanes));
}
inline Ints unpack_low(Ints a, Ints b) { return _mm256_unpacklo_epi32(a, b); }
inline Ints unpack_high(Ints a, Ints b) { return _mm256_unpackhi_epi32(a, b); }
inline Ints unpack_low_pairs(Ints a, Ints b) { return _mm256_unpacklo_epi64(a, b); }
inline Ints unpack_high_pairs(Ints a, Ints b) { return _mm256_unpackhi_epi64(a, b); }
inline void store_bytes(std::int8_t* p, Ints a) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}
inline void store_bf16(std::uint16_t* p, Floats a) {
  const Ints bits = _mm256_castps_si256(a);
  const Ints odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const Ints rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1)));
}
#endif

inline std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// 2^x by x = n + r, |r| <= 1/2, and the polynomial 1 + c1 r + ... + c5 r^5 whose largest relative error is least
// (1.1e-7; Remez). x is clamped to the range in which the result is a normal number; what rounding it did to x is left
// in the result: |x| 6e-8 of it.
inline Floats two_to(Floats x) {
  x = max_of(min_of(x, all(127.0f)), all(-126.0f));
  const Floats n = nearest(x), r = x - n;
  Floats p = all(1.326471334323287e-3f);
  p = fma(p, r, all(9.671523235738277e-3f));
  p = fma(p, r, all(5.550733953714371e-2f));
  p = fma(p, r, all(0.24022242426872253f));
  p = fma(p, r, all(0.6931470036506653f));
  p = fma(p, r, all(1.0f));
  return scaled(p, n);
}
constexpr float kLog2e = 1.44269504088896341f;
inline Floats exponential(Floats x) { return two_to(x * all(kLog2e)); }

// x sigma(s x)
inline Floats swish(Floats x, float s) { return divide(x, all(1.0f) + two_to(x * all(-s * kLog2e))); }

// x Phi(x), with erf by formula 7.1.26 of Abramowitz and Stegun (absolute error below 1.5e-7):
// for z = |x| / sqrt 2 and t = 1 / (1 + 0.3275911 z), 1 - erf(z) = t P(t) e^(-z^2).
inline Floats gelu(Floats x) {
  const Floats z = magnitude(x) * all(0.70710678118654752f);
  const Floats t = divide(all(1.0f), fma(all(0.3275911f), z, all(1.0f)));
  Floats p = all(1.061405429f);
  p = fma(p, t, all(-1.453152027f));
  p = fma(p, t, all(1.421413741f));
  p = fma(p, t, all(-0.284496736f));
  p = fma(p, t, all(0.254829592f));
  const Floats tail = p * t * two_to(z * z * all(-kLog2e)) * all(0.5f);  // Phi(-|x|)
  // x > 0: x (1 - tail) = x - x tail;  x < 0: x tail.  Both: max(x, 0) - |x| tail
  return max_of(x, zero()) - magnitude(x) * tail;
}

// 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) = x sigma(2 sqrt(2 / pi) (x + 0.044715 x^3))
inline Floats gelu_tanh(Floats x) {
  const Floats u = x * fma(x * x, all(-0.044715f * 1.5957691216057308f * kLog2e), all(-1.5957691216057308f * kLog2e));
  return divide(x, all(1.0f) + two_to(u));
}

}  // namespace
