// Repeatable numbers for tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace torchclip::test {

// The next state of a linear congruential generator; its upper bits are the random ones.
inline std::uint32_t next_random(std::uint32_t& state) { return state = state * 1664525u + 1013904223u; }

// The next number in [-1, 1).
inline float next_value(std::uint32_t& state) {
  constexpr float kHalf = 1 << 23;
  return static_cast<float>(next_random(state) >> 8) / kHalf - 1.0f;
}

// Numbers in [-1, 1).
inline std::vector<float> values(std::size_t n, std::uint32_t seed) {
  std::vector<float> v(n);
  for (auto& x : v) x = next_value(seed);
  return v;
}

// The larger of two errors; one that is no number counts as infinite.
inline double larger_error(double largest, double error) {
  return std::isnan(error) ? INFINITY : std::max(largest, error);
}

inline double exact_gelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }

// A weight as it is stored in 16 bits, by definition: the nearest of the numbers that have so few bits.
inline double stored(core::Precision precision, float x) {
  if (precision != core::Precision::bf16 && precision != core::Precision::fp16) return x;
  const bool is_bf16 = precision == core::Precision::bf16;
  const int significant = is_bf16 ? 8 : 11, least = is_bf16 ? -133 : -24;
  int exponent;
  std::frexp(x, &exponent);
  const double unit = std::ldexp(1.0, std::max(exponent - significant, least));
  return std::nearbyint(x / unit) * unit;
}

// Names for CAPTURE, which shows a std::string as text and any other pointer as an address.
inline std::string name_of(core::DType type) {
  constexpr const char* kNames[] = {"f32", "bf16", "s8", "f16", "e4m3"};
  return kNames[static_cast<int>(type)];
}
inline std::string kernels_name() { return core::kernels()->name; }

}  // namespace torchclip::test
