// One step of each matrix multiplication, for the instruction set that this file is compiled for; see gemm.h.
#pragma once

#include "kernels/vector.h"

namespace {

inline int four_bytes(const char* p) {
  int v;
  std::memcpy(&v, p, 4);
  return v;
}

// The weights of one step of a strip: two registers.
struct Pair {
  Ints first, second;
};

// Weights of 4 bytes per column and step, in memory order.
struct WholeWeights {
  static constexpr int kBytes = 4;
  static Pair weights(const char* w) { return {load_ints(w), load_ints(w + sizeof(Ints))}; }
};

#if defined(__AVX512F__)
constexpr int kF32Rows = 14;
#elif defined(TORCHCLIP_NEON)
constexpr int kF32Rows = 8;
#else
constexpr int kF32Rows = 6;
#endif

// Processes one float32 of A per step.
struct F32Fma {
  using Sum = Floats;
  static constexpr int kRows = kF32Rows, kOffset = 0;
  static Sum zero() { return all(0.0f); }
#if defined(TORCHCLIP_NEON)  // The multiplication by one lane needs no register of equal lanes.
  static Sum step(Sum s, const char* a, Ints w) {
    float x;
    std::memcpy(&x, a, sizeof x);
    return vfmaq_n_f32(s, as_floats(w), x);
  }
#else
  static Sum step(Sum s, const char* a, Ints w) { return fma(as_floats(all_ints(four_bytes(a))), as_floats(w), s); }
#endif
};
struct F32FmaStep : F32Fma, WholeWeights {};

// bf16 weights. 4 bytes hold one column of each of the two registers; a shift and a mask widen them.
struct WidenedBf16Step : F32Fma {
  using Widened = F32FmaStep;  // It computes the same sums from weights that were widened before.
  static constexpr int kBytes = 2;
  static Pair weights(const char* w) {
    const Ints both = load_ints(w);
    return {low_half_as_high(both), high_half(both)};
  }
};
// fp16 weights, one column after another.
#if defined(TORCHCLIP_WIDENS_FP16)
struct WidenedFp16Step : F32Fma {
  using Widened = F32FmaStep;
  static constexpr int kBytes = 2;
  static Pair weights(const char* w) {
    const auto* halves = reinterpret_cast<const std::uint16_t*>(w);
    return {as_ints(widen_fp16(halves)), as_ints(widen_fp16(halves + kLanes))};
  }
};
#endif

// Multiplies unsigned bytes of weights by signed bytes of A, four per step; `Own::dot` adds the products to a sum.
template <typename Own>
struct Int8Step : WholeWeights {
  using Sum = Ints;
  static Sum zero() { return all_ints(0); }
  static Sum step(Sum s, const char* a, Ints w) { return Own::dot(s, w, all_ints(four_bytes(a))); }
};

#if defined(__AVX512F__)
// Pairs of products are added in 16 bits, which hold 2 * 127 * 127; the weights therefore have 7 bits.
struct Int8MaddubsStep : Int8Step<Int8MaddubsStep> {
  static constexpr int kRows = 12, kOffset = 64;
  static Sum dot(Sum s, Ints w, Ints a) {
    return _mm512_add_epi32(s, _mm512_madd_epi16(_mm512_maddubs_epi16(w, a), _mm512_set1_epi16(1)));
  }
};
#if defined(__AVX512VNNI__)
struct Int8VnniStep : Int8Step<Int8VnniStep> {
  static constexpr int kRows = 14, kOffset = 128;
  static Sum dot(Sum s, Ints w, Ints a) { return _mm512_dpbusd_epi32(s, w, a); }
};
#endif
#if defined(__AVX512BF16__)
struct Bf16Step : WholeWeights {
  using Sum = __m512;
  static constexpr int kRows = 14, kOffset = 0;
  static Sum zero() { return _mm512_setzero_ps(); }
  static Sum step(Sum s, const char* a, Ints w) {
    return _mm512_dpbf16_ps(s, (__m512bh)w, (__m512bh)_mm512_set1_epi32(four_bytes(a)));
  }
};
#endif
#elif defined(__AVX2__)
struct Int8MaddubsStep : Int8Step<Int8MaddubsStep> {
  static constexpr int kRows = 5, kOffset = 64;
  static Sum dot(Sum s, Ints w, Ints a) {
    return _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_maddubs_epi16(w, a), _mm256_set1_epi16(1)));
  }
};
#if defined(__AVXVNNI__)
struct Int8VnniStep : Int8Step<Int8VnniStep> {
  static constexpr int kRows = 6, kOffset = 128;
  static Sum dot(Sum s, Ints w, Ints a) { return _mm256_dpbusd_avx_epi32(s, w, a); }
};
#endif
#elif !defined(TORCHCLIP_NEON)  // For NEON, see steps_neon.h.
// Multiplies unsigned bytes by signed ones. The products have 16 bits (255 * 127 fits) and are added in 32.
struct Int8PlainStep : Int8Step<Int8PlainStep> {
  using Shorts = std::int16_t __attribute__((vector_size(16)));
  static constexpr int kRows = 4, kOffset = 128;
  static Sum sum_of_pairs(Shorts products) {
    const Ints pairs = reinterpret_cast<Ints>(products);
    return ((pairs << 16) >> 16) + (pairs >> 16);
  }
  static Sum dot(Sum s, Ints w, Ints a) {
    const Shorts weights = reinterpret_cast<Shorts>(w), rows = reinterpret_cast<Shorts>(a);
    const Shorts low = (weights & 255) * ((rows << 8) >> 8), high = ((weights >> 8) & 255) * (rows >> 8);
    return s + sum_of_pairs(low) + sum_of_pairs(high);
  }
};
#endif

}  // namespace
