// AMX's instructions as plain loops, after Intel's description of them, for machines that lack them: include before
// kernels/amx.h.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace amx {

struct Config {
  std::uint8_t palette, start, reserved[14];
  std::uint16_t bytes[16];
  std::uint8_t rows[16];
};
inline Config config;
inline char tiles[8][16][64];
inline bool configured = false;
inline int misuse = 0;  // what the processor would raise an exception for

inline void need(bool fine) { misuse += fine ? 0 : 1; }
inline void load_config(const void* from) {
  std::memcpy(&config, from, sizeof config);
  std::memset(tiles, 0, sizeof tiles);
  configured = true;
  need(config.palette == 1);
  for (int i = 0; i < 8; ++i)
    need(config.rows[i] <= 16 && config.bytes[i] <= 64 && (config.rows[i] > 0) == (config.bytes[i] > 0));
}
inline bool usable(int t) { return configured && config.rows[t] > 0; }
inline void zero(int t) {
  need(usable(t));
  std::memset(tiles[t], 0, sizeof tiles[t]);
}
inline void load(int t, const void* from, std::int64_t stride) {
  zero(t);
  for (int r = 0; r < config.rows[t]; ++r) {
    std::memcpy(tiles[t][r], static_cast<const char*>(from) + r * stride, config.bytes[t]);
  }
}
inline void store(int t, void* to, std::int64_t stride) {
  need(usable(t));
  for (int r = 0; r < config.rows[t]; ++r) {
    std::memcpy(static_cast<char*>(to) + r * stride, tiles[t][r], config.bytes[t]);
  }
}
// to[m][n] += sum over k of a[m][k] . b[k][n], each a group of 4 bytes
template <typename Sum, typename Dot>
void multiply(int to, int a, int b, Dot&& dot) {
  need(usable(to) && usable(a) && usable(b));
  need(config.rows[to] == config.rows[a] && config.bytes[to] == config.bytes[b] &&
       config.bytes[a] == 4 * config.rows[b]);
  for (int m = 0; m < config.rows[to]; ++m) {
    for (int n = 0; n < config.bytes[to] / 4; ++n) {
      Sum sum;
      std::memcpy(&sum, tiles[to][m] + 4 * n, 4);
      for (int k = 0; k < config.rows[b]; ++k) sum = dot(sum, tiles[a][m] + 4 * k, tiles[b][k] + 4 * n);
      std::memcpy(tiles[to][m] + 4 * n, &sum, 4);
    }
  }
}
inline float bf16(const char* p) {
  std::uint16_t half;
  std::memcpy(&half, p, 2);
  const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
inline void bf16(int to, int a, int b) {
  multiply<float>(to, a, b, [](float sum, const char* x, const char* y) {
    return sum + bf16(x) * bf16(y) + bf16(x + 2) * bf16(y + 2);
  });
}
inline void signed_unsigned(int to, int a, int b) {
  multiply<std::int32_t>(to, a, b, [](std::int32_t sum, const char* x, const char* y) {
    for (int i = 0; i < 4; ++i) sum += static_cast<std::int8_t>(x[i]) * static_cast<std::uint8_t>(y[i]);
    return sum;
  });
}

}  // namespace amx

#undef _tile_loadd  // some compilers' are macros
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#undef _tile_dpbsud
#define _tile_loadconfig(from) amx::load_config(from)
#define _tile_release() (amx::configured = false)
#define _tile_zero(t) amx::zero(t)
#define _tile_loadd(t, from, stride) amx::load(t, from, stride)
#define _tile_stored(t, to, stride) amx::store(t, to, stride)
#define _tile_dpbf16ps(to, a, b) amx::bf16(to, a, b)
#define _tile_dpbsud(to, a, b) amx::signed_unsigned(to, a, b)
