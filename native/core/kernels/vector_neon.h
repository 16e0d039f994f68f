// One register of floats with NEON (ARM64); vector.h includes this file where TORCHCLIP_NEON is defined. Results that
// are no numbers follow the definition of vector.h's plain code and of x86.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace {

constexpr int kLanes = 4;
using Floats = float32x4_t;
using Ints = int32x4_t;
inline Floats load(const float* p) { return vld1q_f32(p); }
inline void store(float* p, Floats v) { vst1q_f32(p, v); }
inline Floats all(float x) { return vdupq_n_f32(x); }
inline Floats zero() { return vdupq_n_f32(0.0f); }
inline Floats fma(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
// Not vmaxq_f32 and vminq_f32, which return NaN if either is NaN: here the second operand is then the result.
inline Floats max_of(Floats a, Floats b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
inline Floats min_of(Floats a, Floats b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
inline Floats magnitude(Floats a) { return vabsq_f32(a); }
inline Ints to_ints(Floats a) { return vcvtnq_s32_f32(a); }
inline Floats to_floats(Ints a) { return vcvtq_f32_s32(a); }
inline Floats nearest(Floats a) { return vrndnq_f32(a); }
inline Ints add(Ints a, Ints b) { return vaddq_s32(a, b); }
inline Ints all_ints(std::int32_t x) { return vdupq_n_s32(x); }
inline Floats as_floats(Ints a) { return vreinterpretq_f32_s32(a); }
inline Ints as_ints(Floats a) { return vreinterpretq_s32_f32(a); }
inline Floats scaled(Floats a, Floats n) {  // a 2^n, for n in -126 to 127
  return vmulq_f32(a, as_floats(vshlq_n_s32(add(to_ints(n), all_ints(127)), 23)));
}
inline Floats divide(Floats a, Floats b) { return vdivq_f32(a, b); }
inline float sum_of(Floats a) { return vaddvq_f32(a); }
inline float max_of(Floats a) { return vmaxvq_f32(a); }
inline std::int32_t sum_of(Ints a) { return vaddvq_s32(a); }
inline void store(std::int32_t* p, Ints a) { vst1q_s32(p, a); }
inline Ints load_ints(const char* p) {
  return vreinterpretq_s32_u8(vld1q_u8(reinterpret_cast<const std::uint8_t*>(p)));
}
inline Ints low_half_as_high(Ints a) { return vshlq_n_s32(a, 16); }
inline Ints high_half(Ints a) { return vandq_s32(a, all_ints(static_cast<std::int32_t>(0xffff0000u))); }
inline Floats widen_bf16(const std::uint16_t* p) {
  return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(vld1_u16(p)), 16));
}
inline Floats widen_fp16(const std::uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
inline unsigned at_least(Floats a, Floats b) {  // One bit per lane.
  constexpr std::uint32_t kBits[4] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgeq_f32(a, b), vld1q_u32(kBits)));
}
inline Ints load_first(const std::int32_t* p, std::int64_t count) {  // Zeros after the first `count`.
  if (count >= kLanes) return vreinterpretq_s32_u8(vld1q_u8(reinterpret_cast<const std::uint8_t*>(p)));
  std::int32_t lanes[kLanes] = {};
  std::memcpy(lanes, p, static_cast<std::size_t>(count > 0 ? count : 0) * sizeof lanes[0]);
  return vld1q_s32(lanes);
}
inline Ints unpack_low(Ints a, Ints b) { return vzip1q_s32(a, b); }
inline Ints unpack_high(Ints a, Ints b) { return vzip2q_s32(a, b); }
inline Ints unpack_low_pairs(Ints a, Ints b) {
  return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}
inline Ints unpack_high_pairs(Ints a, Ints b) {
  return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}
inline void store_bytes(std::int8_t* p, Ints a) {
  const int16x4_t words = vqmovn_s32(a);
  const auto bytes = vget_lane_s32(vreinterpret_s32_s8(vqmovn_s16(vcombine_s16(words, words))), 0);
  std::memcpy(p, &bytes, sizeof bytes);
}
inline void store_bf16(std::uint16_t* p, Floats a) {  // round to nearest, ties to even
  const uint32x4_t bits = vreinterpretq_u32_f32(a);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  vst1_u16(p, vshrn_n_u32(rounded, 16));
}

}  // namespace
