// The index and rounding arithmetic of one thread of the kernels. The GPU and the host emulation use the same
// functions.
#pragma once

#include <cmath>

#include "kernels.h"
#include "numbers.h"

namespace torchclip::cuda {

struct PatchShape {
  std::int64_t size, patch, grid, stride;  // Image side, patch side, patches per side, elements of an output row.
};

struct PatchPixel {
  std::int64_t row;    // The output row: a patch of an image.
  std::int64_t place;  // The row and column in the patch.
  std::int64_t pixel;  // The offset of the pixel's first channel.
};

// Consecutive i are consecutive columns of a patch, then its rows, then patches, so that neighbouring threads write
// neighbouring elements.
HOST_DEVICE PatchPixel patch_pixel(const PatchShape& s, std::int64_t i) {
  const std::int64_t plane = s.patch * s.patch, row = i / plane, place = i % plane;
  const std::int64_t image = row / (s.grid * s.grid), cell = row % (s.grid * s.grid);
  const std::int64_t y = cell / s.grid * s.patch + place / s.patch, x = cell % s.grid * s.patch + place % s.patch;
  return {row, place, ((image * s.size + y) * s.size + x) * 3};
}

// GELU's forms as torch.nn defines them; QuickGELU is OpenAI's x sigmoid(1.702 x).
template <Activation A>
HOST_DEVICE float activate(float x) {
  if constexpr (A == Activation::quick_gelu) return x / (1.0f + expf(-1.702f * x));
  if constexpr (A == Activation::silu) return x / (1.0f + expf(-x));
  if constexpr (A == Activation::relu) return x > 0.0f ? x : 0.0f;
  if constexpr (A == Activation::gelu) return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
  if constexpr (A == Activation::gelu_tanh) {
    return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
  }
  return x;
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
