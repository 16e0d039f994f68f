// One register of floats, for the instruction set that this file is compiled for: AVX-512, AVX2, NEON, or the vector
// extension of GCC and Clang, which every machine supports. Only the kernel sources include this file. Everything is in
// the unnamed namespace, so that no inline function of one instruction set is ever linked into another.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(TORCHCLIP_NEON)
#include "kernels/vector_neon.h"
#endif

#include <cstdint>
#include <cstring>

// With AVX2, widening fp16 needs F16C. AVX-512 includes it, and plain C++ computes it.
#if defined(__AVX512F__) || defined(__F16C__) || !defined(__AVX2__)
#define TORCHCLIP_WIDENS_FP16
#endif

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
// a / b by the 14-bit reciprocal and one Newton step, with an error below 2e-7. A division takes three times as long.
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
inline Ints load_ints(const char* p) { return _mm512_loadu_si512(p); }
inline Floats as_floats(Ints a) { return _mm512_castsi512_ps(a); }
inline Ints as_ints(Floats a) { return _mm512_castps_si512(a); }
inline Ints low_half_as_high(Ints a) { return _mm512_slli_epi32(a, 16); }
inline Ints high_half(Ints a) { return _mm512_and_si512(a, _mm512_set1_epi32(static_cast<int>(0xffff0000u))); }
inline Floats widen_bf16(const std::uint16_t* p) {
  return as_floats(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
}
inline Floats widen_fp16(const std::uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline unsigned at_least(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }  // One bit per lane.
inline Ints load_first(const std::int32_t* p, std::int64_t count) {  // Zeros after the first `count`.
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
#elif defined(__AVX2__)
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
inline Ints load_ints(const char* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline Floats as_floats(Ints a) { return _mm256_castsi256_ps(a); }
inline Ints as_ints(Floats a) { return _mm256_castps_si256(a); }
inline Ints low_half_as_high(Ints a) { return _mm256_slli_epi32(a, 16); }
inline Ints high_half(Ints a) { return _mm256_and_si256(a, _mm256_set1_epi32(static_cast<int>(0xffff0000u))); }
inline Floats widen_bf16(const std::uint16_t* p) {
  return as_floats(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
}
#if defined(__F16C__)
inline Floats widen_fp16(const std::uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
#endif
inline unsigned at_least(Floats a, Floats b) {
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
}
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
#elif !defined(TORCHCLIP_NEON)
constexpr int kLanes = 4;
using Floats = float __attribute__((vector_size(16)));
using Ints = std::int32_t __attribute__((vector_size(16)));
using Bits = std::uint32_t __attribute__((vector_size(16)));
inline Floats all(float x) { return Floats{x, x, x, x}; }
inline Floats zero() { return all(0.0f); }
inline Ints all_ints(std::int32_t x) { return Ints{x, x, x, x}; }
inline Floats as_floats(Ints a) { return reinterpret_cast<Floats>(a); }
inline Ints as_ints(Floats a) { return reinterpret_cast<Ints>(a); }
inline Ints load_ints(const char* p) {
  Ints a;
  std::memcpy(&a, p, sizeof a);
  return a;
}
inline Floats load(const float* p) {
  Floats a;
  std::memcpy(&a, p, sizeof a);
  return a;
}
inline void store(float* p, Floats a) { std::memcpy(p, &a, sizeof a); }
inline void store(std::int32_t* p, Ints a) { std::memcpy(p, &a, sizeof a); }
inline Floats fma(Floats a, Floats b, Floats c) { return a * b + c; }
inline Floats max_of(Floats a, Floats b) { return a > b ? a : b; }
inline Floats min_of(Floats a, Floats b) { return a < b ? a : b; }
inline Floats magnitude(Floats a) { return as_floats(as_ints(a) & all_ints(0x7fffffff)); }
// 1.5 * 2^23: a number that is added to it is rounded to an integer, ties to even, for |a| < 2^22.
constexpr float kRound = 12582912.0f;
constexpr std::int32_t kRoundBits = 0x4b400000;
inline Ints to_ints(Floats a) {
  return reinterpret_cast<Ints>(reinterpret_cast<Bits>(a + all(kRound)) - reinterpret_cast<Bits>(all_ints(kRoundBits)));
}
inline Floats to_floats(Ints a) {
  return Floats{static_cast<float>(a[0]), static_cast<float>(a[1]), static_cast<float>(a[2]), static_cast<float>(a[3])};
}
inline Floats nearest(Floats a) { return (a + all(kRound)) - all(kRound); }
inline Floats scaled(Floats a, Floats n) {  // a 2^n, for n in -126 to 127
  return a * as_floats((to_ints(n) + all_ints(127)) << 23);
}
inline Floats divide(Floats a, Floats b) { return a / b; }
inline float sum_of(Floats a) { return (a[0] + a[2]) + (a[1] + a[3]); }
inline float max_of(Floats a) {
  const float x = a[0] > a[1] ? a[0] : a[1], y = a[2] > a[3] ? a[2] : a[3];
  return x > y ? x : y;
}
inline Ints add(Ints a, Ints b) {
  return reinterpret_cast<Ints>(reinterpret_cast<Bits>(a) + reinterpret_cast<Bits>(b));
}
inline std::int32_t sum_of(Ints a) { return a[0] + a[1] + a[2] + a[3]; }
inline Ints low_half_as_high(Ints a) { return a << 16; }
inline Ints high_half(Ints a) { return a & all_ints(static_cast<std::int32_t>(0xffff0000u)); }
inline Ints four_halves(const std::uint16_t* p) { return Ints{p[0], p[1], p[2], p[3]}; }
inline Floats widen_bf16(const std::uint16_t* p) { return as_floats(four_halves(p) << 16); }
// The exponent bits are moved to their place and corrected by a multiplication, which also handles subnormal numbers.
inline Floats widen_fp16(const std::uint16_t* p) {
  const Ints half = four_halves(p), rest = (half & all_ints(0x7fff)) << 13;
  constexpr float kCorrection = 0x1p112f;
  const Ints value = as_ints(as_floats(rest) * all(kCorrection));
  const Ints special = rest >= all_ints(0x7c00 << 13);  // Infinities and NaN.
  return as_floats(value | (special & all_ints(0x7f800000)) | ((half & all_ints(0x8000)) << 16));
}
inline unsigned at_least(Floats a, Floats b) {
  const Ints is = a >= b;
  return (is[0] & 1) | (is[1] & 2) | (is[2] & 4) | (is[3] & 8);
}
inline Ints load_first(const std::int32_t* p, std::int64_t count) {
  Ints a = all_ints(0);
  for (int i = 0; i < kLanes && i < count; ++i) a[i] = p[i];
  return a;
}
inline Ints unpack_low(Ints a, Ints b) { return Ints{a[0], b[0], a[1], b[1]}; }
inline Ints unpack_high(Ints a, Ints b) { return Ints{a[2], b[2], a[3], b[3]}; }
inline Ints unpack_low_pairs(Ints a, Ints b) { return Ints{a[0], a[1], b[0], b[1]}; }
inline Ints unpack_high_pairs(Ints a, Ints b) { return Ints{a[2], a[3], b[2], b[3]}; }
inline void store_bytes(std::int8_t* p, Ints a) {
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<std::int8_t>(a[i]);
}
inline void store_bf16(std::uint16_t* p, Floats a) {
  const Bits bits = reinterpret_cast<Bits>(a);
  const Bits rounded = (bits + ((bits >> 16) & 1) + 0x7fff) >> 16;
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<std::uint16_t>(rounded[i]);
}
#endif

inline std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

inline float square_root(float x) {
#if defined(__AVX2__)
  return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
#else
  return __builtin_sqrtf(x);
#endif
}
inline std::int32_t nearest_int(float x) {
#if defined(__AVX2__)
  return _mm_cvtss_si32(_mm_set_ss(x));
#else
  return to_ints(all(x))[0];
#endif
}
// Prefetches into the L2 cache.
inline void prefetch(const char* p) { __builtin_prefetch(p, 0, 2); }

// 2^x by x = n + r with |r| <= 1/2 and the minimax polynomial 1 + c1 r + ... + c5 r^5 (Remez), whose largest relative
// error is 1.1e-7. x is clamped to the range in which the result is a normal number. The rounding error of x itself
// remains in the result: a relative error of |x| 6e-8.
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
// for z = |x| / sqrt 2 and t = 1 / (1 + 0.3275911 z), 1 - erf(z) = t P(t) e^(-z^2). The power is at least 2^-100, so
// that no result is a subnormal number, with which multiplications are a hundred times slower.
inline Floats gelu(Floats x) {
  const Floats z = magnitude(x) * all(0.70710678118654752f);
  const Floats t = divide(all(1.0f), fma(all(0.3275911f), z, all(1.0f)));
  Floats p = all(1.061405429f);
  p = fma(p, t, all(-1.453152027f));
  p = fma(p, t, all(1.421413741f));
  p = fma(p, t, all(-0.284496736f));
  p = fma(p, t, all(0.254829592f));
  const Floats power = two_to(max_of(z * z * all(-kLog2e), all(-100.0f)));
  const Floats tail = p * t * power * all(0.5f);  // Phi(-|x|)
  // x > 0: x (1 - tail) = x - x tail;  x < 0: x tail.  Both: max(x, 0) - |x| tail
  return max_of(x, zero()) - magnitude(x) * tail;
}

// 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) = x sigma(2 sqrt(2 / pi) (x + 0.044715 x^3))
inline Floats gelu_tanh(Floats x) {
  const Floats u = x * fma(x * x, all(-0.044715f * 1.5957691216057308f * kLog2e), all(-1.5957691216057308f * kLog2e));
  return divide(x, all(1.0f) + two_to(u));
}

}  // namespace
