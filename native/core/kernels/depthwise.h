// Depthwise convolutions, for the instruction set that this file is compiled for. See kernels.h.
#pragma once

#include "kernels/vector.h"

namespace {

using torchclip::core::depthwise_side;
using torchclip::core::DepthwiseLine;

// The pixels of a line that are computed together, for the channels of one register. Their sums and the weights of one
// line of the filter stay in registers.
#if defined(__AVX512F__) || defined(TORCHCLIP_NEON)
constexpr int kPixels = 8;
#elif defined(__AVX2__)
constexpr int kPixels = 6;
#else
constexpr int kPixels = 4;
#endif

// The operations on a register of channels, and on one channel.
inline void read(Floats& to, const float* from) { to = load(from); }
inline void read(float& to, const float* from) { to = *from; }
inline void write(float* to, Floats value) { store(to, value); }
inline void write(float* to, float value) { *to = value; }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return fma(a, b, c); }
inline float multiply_add(float a, float b, float c) { return a * b + c; }

// Computes `count` pixels from pixel x on, in the channels of a V from channel c on. Inside: count is kPixels, and no
// tap lies left or right of the image.
template <typename V, int K, int S, bool Inside>
void depthwise_pixels(const DepthwiseLine& t, std::int64_t x, std::int64_t count, std::int64_t c) {
  constexpr int kInputs = (kPixels - 1) * S + K;  // The input pixels of a line.
  const std::int64_t first = x * S - K / 2;
  V bias, sum[kPixels];
  read(bias, t.bias + c);
#pragma GCC unroll 16
  for (int j = 0; j < kPixels; ++j) sum[j] = bias;
  for (int y = 0; y < K; ++y) {
    if (!t.lines[y]) continue;
    V weights[std::size_t{K}];
#pragma GCC unroll 16
    for (int k = 0; k < K; ++k) read(weights[k], t.weights + (y * K + k) * t.channels + c);
#pragma GCC unroll 32
    for (int i = 0; i < kInputs; ++i) {
      if (!Inside && (first + i < 0 || first + i >= t.width)) continue;
      V input;
      read(input, t.lines[y] + (first + i) * t.channels + c);
#pragma GCC unroll 16
      for (int j = 0; j < kPixels; ++j) {
        const int k = i - j * S;
        if (k >= 0 && k < K) sum[j] = multiply_add(input, weights[k], sum[j]);
      }
    }
  }
#pragma GCC unroll 16
  for (int j = 0; j < kPixels; ++j) {
    if (Inside || j < count) write(t.out + (x + j) * t.ldo + c, sum[j]);
  }
}

template <typename V, int K, int S>
void depthwise_channels(const DepthwiseLine& t, std::int64_t c) {
  const std::int64_t width = depthwise_side(t.width, S);
  for (std::int64_t x = 0; x < width; x += kPixels) {
    const std::int64_t count = smaller(kPixels, width - x);
    const bool inside = count == kPixels && x * S >= K / 2 && (x + kPixels - 1) * S + K / 2 < t.width;
    if (inside) {
      depthwise_pixels<V, K, S, true>(t, x, count, c);
    } else {
      depthwise_pixels<V, K, S, false>(t, x, count, c);
    }
  }
}

template <int K, int S>
void depthwise_line(const DepthwiseLine& t) {
  std::int64_t c = 0;
  for (; c + kLanes <= t.channels; c += kLanes) depthwise_channels<Floats, K, S>(t, c);
  for (; c < t.channels; ++c) depthwise_channels<float, K, S>(t, c);
}

void depthwise(const DepthwiseLine& t) {
  const bool halves = t.stride == 2;
  if (t.kernel == 7) return halves ? depthwise_line<7, 2>(t) : depthwise_line<7, 1>(t);
  halves ? depthwise_line<3, 2>(t) : depthwise_line<3, 1>(t);
}

}  // namespace
