// One step of each matrix multiplication with NEON and its extensions; see gemm.h.
#pragma once

#include "kernels/steps.h"

namespace {

// The packed weights are unsigned, with an offset of 128; NEON's instructions want them signed. The compiler computes
// this once for all rows of a tile.
inline int8x16_t signed_weights(Ints w) {
  return vreinterpretq_s8_u8(veorq_u8(vreinterpretq_u8_s32(w), vdupq_n_u8(0x80)));
}

// Products of two signed bytes have 16 bits, which hold the sum of two of them, as a weight is at least -127.
struct Int8SmullStep : Int8Step<Int8SmullStep> {
  static constexpr int kRows = 6, kOffset = 0;
  static Sum dot(Sum s, Ints w, Ints a) {
    const int8x16_t weights = signed_weights(w), rows = vreinterpretq_s8_s32(a);
    const int16x8_t low = vmull_s8(vget_low_s8(weights), vget_low_s8(rows));
    const int16x8_t high = vmull_high_s8(weights, rows);
    return vpadalq_s16(s, vpaddq_s16(low, high));
  }
};

#if defined(__ARM_FEATURE_DOTPROD)
struct Int8SdotStep : Int8Step<Int8SdotStep> {
  static constexpr int kRows = 8, kOffset = 0;
  static Sum dot(Sum s, Ints w, Ints a) { return vdotq_s32(s, signed_weights(w), vreinterpretq_s8_s32(a)); }
};
#endif

#if defined(__ARM_FEATURE_MATMUL_INT8)
struct Int8UsdotStep : Int8Step<Int8UsdotStep> {
  static constexpr int kRows = 8, kOffset = 128;
  static Sum dot(Sum s, Ints w, Ints a) { return vusdotq_s32(s, vreinterpretq_u8_s32(w), vreinterpretq_s8_s32(a)); }
};
#endif

#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
struct Bf16BfdotStep : WholeWeights {
  using Sum = Floats;
  static constexpr int kRows = 8, kOffset = 0;
  static Sum zero() { return all(0.0f); }
  static Sum step(Sum s, const char* a, Ints w) {
    return vbfdotq_f32(s, vreinterpretq_bf16_s32(w), vreinterpretq_bf16_s32(all_ints(four_bytes(a))));
  }
};
#endif

}  // namespace
