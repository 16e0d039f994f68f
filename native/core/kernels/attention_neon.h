// Attention of one head in bf16, with the BF16 extension of ARM64.
#pragma once

#include "kernels/attention.h"
#include "kernels/steps_neon.h"

namespace {

struct Bf16BfdotAttention : Bf16BfdotStep, Bf16Rows {
  // The first `columns` of a strip of one row, and zeros after them.
  static uint16x8_t strip_of(const char* row, std::int64_t columns) {
    std::uint16_t some[kStrip] = {};
    std::memcpy(some, row, static_cast<std::size_t>(columns) * sizeof some[0]);
    return vld1q_u16(some);
  }
  // Packs a strip of columns as pairs of keys, [keys / 2][kStrip][2].
  static void pack_values(const Rows& v, std::int64_t keys, std::int64_t columns, char* to) {
    auto* out = reinterpret_cast<std::uint16_t*>(to);
    for (std::int64_t i = 0; i < keys; i += 2, out += 2 * kStrip) {
      const uint16x8_t a = strip_of(v.at(i), columns);
      const uint16x8_t b = i + 1 < keys ? strip_of(v.at(i + 1), columns) : vdupq_n_u16(0);
      vst1q_u16(out, vzip1q_u16(a, b));
      vst1q_u16(out + kStrip, vzip2q_u16(a, b));
    }
  }
};

}  // namespace
