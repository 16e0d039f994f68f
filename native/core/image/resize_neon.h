// A pixel of the horizontal pass with NEON (ARM64): the same integer sums as in resize.cpp, so that the bytes cannot
// differ. The vertical pass needs nothing of its own: the compiler uses NEON in its loops.
#pragma once

#if defined(__aarch64__) && defined(__ARM_NEON)
#define TORCHCLIP_RESIZE_NEON

#include <arm_neon.h>

#include <cstdint>

#include "image/resize_plan.h"

namespace torchclip::core {
namespace {

constexpr std::int32_t kNeonTaps = 4;    // The taps of one load of 16 bytes, of which 12 are used.
constexpr std::int32_t kNeonBeyond = 4;  // The bytes beyond the taps that are read.

// One tap of 16 bytes of RGB: its bytes in the lowest byte of three lanes of 32 bits. An index of 255 gives zero.
template <std::uint8_t Tap>
inline int32x4_t neon_tap(uint8x16_t bytes) {
  constexpr std::uint8_t kR = 3 * Tap, kG = 3 * Tap + 1, kB = 3 * Tap + 2, kNone = 255;
  const uint8x16_t lanes = {kR, kNone, kNone, kNone, kG,    kNone, kNone, kNone,
                            kB, kNone, kNone, kNone, kNone, kNone, kNone, kNone};
  return vreinterpretq_s32_u8(vqtbl1q_u8(bytes, lanes));
}

// out[3]: the sums of `count` taps of RGB pixels from p on. The memory up to p + 3 count + kNeonBeyond can be read.
inline void horizontal_rgb_neon(const std::uint8_t* p, const std::int32_t* w, std::int32_t count, std::uint8_t* out) {
  int32x4_t sum = vdupq_n_s32(1 << (kResizeBits - 1));
  std::int32_t x = 0;
  for (; x + kNeonTaps <= count; x += kNeonTaps, p += 3 * kNeonTaps) {
    const uint8x16_t bytes = vld1q_u8(p);
    const int32x4_t weights = vld1q_s32(w + x);
    sum = vmlaq_laneq_s32(sum, neon_tap<0>(bytes), weights, 0);
    sum = vmlaq_laneq_s32(sum, neon_tap<1>(bytes), weights, 1);
    sum = vmlaq_laneq_s32(sum, neon_tap<2>(bytes), weights, 2);
    sum = vmlaq_laneq_s32(sum, neon_tap<3>(bytes), weights, 3);
  }
  for (; x < count; ++x, p += 3) {
    const int32x4_t pixel = {p[0], p[1], p[2], 0};
    sum = vmlaq_n_s32(sum, pixel, w[x]);
  }
  const uint16x4_t words = vqmovun_s32(vshrq_n_s32(sum, kResizeBits));
  const uint8x8_t rgb = vqmovn_u16(vcombine_u16(words, words));
  out[0] = vget_lane_u8(rgb, 0);
  out[1] = vget_lane_u8(rgb, 1);
  out[2] = vget_lane_u8(rgb, 2);
}

}  // namespace
}  // namespace torchclip::core

#endif
