#include "model/artifact/half.h"

#include <algorithm>
#include <cstring>

namespace torchclip::core {
namespace {

float float_of_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

std::uint32_t bits_of_float(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// IEEE 754 binary16 without branches. A normal number's exponent is rebiased by an addition and a multiplication by
// 2^-112; a subnormal one is placed behind the exponent of 0.5, which is then subtracted.
float float_of_fp16(std::uint16_t half) {
  const std::uint32_t wide = static_cast<std::uint32_t>(half) << 16;
  const std::uint32_t sign = wide & 0x80000000u, magnitude = wide << 1;
  const float normal = float_of_bits((magnitude >> 4) + (0xE0u << 23)) * 0x1.0p-112f;
  const float subnormal = float_of_bits((magnitude >> 17) | (126u << 23)) - 0.5f;
  return float_of_bits(sign | (magnitude < (1u << 27) ? bits_of_float(subnormal) : bits_of_float(normal)));
}

// Blocks are copied before they are widened, so that source and target may overlap and the loop is still one of
// vectors.
constexpr std::size_t kBlock = 256;

template <typename Widen>
void widen(const std::uint16_t* from, float* to, std::size_t count, Widen&& one) {
  std::uint16_t block[kBlock];
  for (std::size_t first = 0; first < count; first += kBlock) {
    const std::size_t n = std::min(kBlock, count - first);
    std::memcpy(block, reinterpret_cast<const char*>(from) + 2 * first, 2 * n);
    for (std::size_t i = 0; i < n; ++i) to[first + i] = one(block[i]);
  }
}

}  // namespace

void widen_fp16(const std::uint16_t* from, float* to, std::size_t count) { widen(from, to, count, float_of_fp16); }

void widen_bf16(const std::uint16_t* from, float* to, std::size_t count) {
  widen(from, to, count, [](std::uint16_t value) { return float_of_bits(static_cast<std::uint32_t>(value) << 16); });
}

}  // namespace torchclip::core
