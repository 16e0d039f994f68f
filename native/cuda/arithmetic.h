// The index and rounding arithmetic of one thread of the kernels. The GPU and the host emulation use the same
// functions.
#pragma once

#include <cmath>
#include <type_traits>

#include "kernels.h"
#include "numbers.h"

namespace torchclip::cuda {

struct PatchShape {
  std::uint32_t size, patch, grid, stride;  // Image side, patch side, patches per side, elements of an output row.
};

// Walks the elements of an output row of patches(): columns of the patch, then its rows, then its channels.
class PatchWalk {
 public:
  // From element `column` of output row `row` on.
  HOST_DEVICE PatchWalk(const PatchShape& s, std::uint32_t row, std::uint32_t column) : s_(s) {
    const std::uint32_t cells = s.grid * s.grid, plane = s.patch * s.patch;
    const std::uint32_t image = row / cells, cell = row % cells, place = column % plane;
    const std::uint32_t top = cell / s.grid * s.patch, left = cell % s.grid * s.patch;
    corner_ = ((static_cast<std::int64_t>(image) * s.size + top) * s.size + left) * 3;
    channel_ = column / plane;
    y_ = place / s.patch;
    x_ = place % s.patch;
  }

  HOST_DEVICE bool is_padding() const { return channel_ >= 3; }
  HOST_DEVICE std::uint32_t channel() const { return channel_; }
  HOST_DEVICE std::int64_t byte() const { return corner_ + (y_ * s_.size + x_) * 3 + channel_; }  // Offset in pixels.
  HOST_DEVICE void next() {
    if (++x_ < s_.patch) return;
    x_ = 0;
    if (++y_ < s_.patch) return;
    y_ = 0;
    ++channel_;
  }

 private:
  PatchShape s_;
  std::int64_t corner_;
  std::uint32_t channel_, y_, x_;
};

// x / (1 + e^-z). Fast: by the GPU's approximate instructions, whose errors are far below the rounding of 16-bit
// numbers; 0 where e^-x overflows.
template <bool Fast>
HOST_DEVICE float times_sigmoid(float x, float z) {
#if defined(__CUDA_ARCH__)
  if constexpr (Fast) return __fdividef(x, 1.0f + __expf(-z));
#endif
  return x / (1.0f + expf(-z));
}

// GELU's forms as torch.nn defines them; QuickGELU is OpenAI's x sigmoid(1.702 x). Fast: for results of 16 bits.
template <Activation A, bool Fast>
HOST_DEVICE float activate(float x) {
  if constexpr (A == Activation::quick_gelu) return times_sigmoid<Fast>(x, 1.702f * x);
  if constexpr (A == Activation::silu) return times_sigmoid<Fast>(x, x);
  if constexpr (A == Activation::relu) return x > 0.0f ? x : 0.0f;
  if constexpr (A == Activation::gelu) return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
  if constexpr (A == Activation::gelu_tanh) {
    const float inner = 0.79788456080286536f * (x + 0.044715f * x * x * x);
    // (1 + tanh(z)) / 2 = sigmoid(2 z)
    return Fast ? times_sigmoid<true>(x, 2.0f * inner) : 0.5f * x * (1.0f + tanhf(inner));
  }
  return x;
}

// work(integral constant) with the activation as a constant of the compiler.
template <typename Work>
void with_activation(Activation activation, Work&& work) {
  switch (activation) {
    case Activation::none:
      return work(std::integral_constant<Activation, Activation::none>{});
    case Activation::quick_gelu:
      return work(std::integral_constant<Activation, Activation::quick_gelu>{});
    case Activation::gelu:
      return work(std::integral_constant<Activation, Activation::gelu>{});
    case Activation::gelu_tanh:
      return work(std::integral_constant<Activation, Activation::gelu_tanh>{});
    case Activation::relu:
      return work(std::integral_constant<Activation, Activation::relu>{});
    case Activation::silu:
      return work(std::integral_constant<Activation, Activation::silu>{});
  }
}

// A repeatable number in [-1, 1) for place i: the upper bits of a multiplicative hash.
HOST_DEVICE float value_at(std::int64_t i) {
  auto hash = static_cast<std::uint32_t>(i) * 2654435761u;
  hash = (hash ^ hash >> 15) * 2246822519u;
  return static_cast<float>(hash >> 8) / (1 << 23) - 1.0f;
}

// Computes Pillow's sum of a pixel's taps, rounded and clipped. `step` is the distance in bytes between taps.
HOST_DEVICE std::uint8_t resample(const std::uint8_t* in, std::int64_t step, const std::int32_t* weights,
                                  std::int32_t count) {
  std::int32_t sum = 1 << (core::kResizeBits - 1);
  for (std::int32_t i = 0; i < count; ++i) sum += in[i * step] * weights[i];
  sum >>= core::kResizeBits;
  return static_cast<std::uint8_t>(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

// The number of bytes that a pass writes.
HOST_DEVICE std::int64_t pass_bytes(const core::ResizeShape& s, bool first) {
  if (!first) return static_cast<std::int64_t>(s.out_height) * s.out_width * 3;
  return static_cast<std::int64_t>(s.count) * (s.vertical_first ? s.out_height * s.channels : s.out_width * 3);
}

// Computes byte i of a pass. The horizontal pass converts any number of channels to RGB; the vertical pass keeps the
// channels.
template <bool First>
HOST_DEVICE void resize_byte(const ResizeJob& job, std::int64_t i) {
  const auto& s = job.shape;
  const bool horizontal = First != s.vertical_first;
  const std::int64_t columns = First && s.vertical_first ? s.count : s.out_width;
  const std::int64_t channels = First && s.vertical_first ? s.channels : 3;  // Channels of the output of the pass.
  const std::int64_t c = i % channels, x = i / channels % columns, y = i / channels / columns;
  // The input of the pass: the image from `first` on (rows or columns), or the output of the first pass.
  const std::int64_t in_columns = First ? s.width : s.vertical_first ? s.count : s.out_width;
  const std::int64_t in_channels = First || s.vertical_first ? s.channels : 3;
  const std::uint8_t* in = First ? job.in : job.between;
  if (First) in += s.vertical_first ? s.first * in_channels : s.first * in_columns * in_channels;
  const std::int64_t channel = in_channels >= 3 ? c : 0;
  std::uint8_t value;
  if (horizontal) {
    const auto taps = job.x_taps[x];
    value = resample(in + (y * in_columns + taps.first) * in_channels + channel, in_channels,
                     job.x_weights + x * s.x_size, taps.count);
  } else {
    const auto taps = job.y_taps[y];
    value = resample(in + (taps.first * in_columns + x) * in_channels + channel, in_columns * in_channels,
                     job.y_weights + y * s.y_size, taps.count);
  }
  if (First) {
    job.between[i] = value;
  } else {
    job.out[((s.out_top + y) * static_cast<std::int64_t>(s.size) + s.out_left + x) * 3 + c] = value;
  }
}

struct BitonicPair {
  int low, high;
  bool falling;
};

// Returns the i-th pair that a bitonic sort in descending order compares when it sorts runs of `size` in steps of
// `step`.
HOST_DEVICE BitonicPair bitonic_pair(int i, int size, int step) {
  const int low = i / step * step * 2 + i % step;
  return {low, low + step, (low & size) == 0};
}

}  // namespace torchclip::cuda
