// A image's way through the resampler as tables, for a device that runs the two passes itself: the same fixed-point
// taps as resize_window, so that integer arithmetic gives the same bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "image/preprocess.h"

namespace torchclip::core {

constexpr int kResizeBits = 32 - 8 - 2;  // of the fixed-point weights: PRECISION_BITS in Pillow's Resample.c

// The taps of one output row or column: input positions [first, first + count) and their fixed-point weights.
struct Taps {
  std::int32_t first, count;
};

struct ResizeShape {
  std::int32_t width, height, channels;  // of the image
  std::int32_t size;                     // of the square output
  std::int32_t out_width, out_height;    // of the part of it that the image fills,
  std::int32_t out_left, out_top;        // and where that lies
  std::int32_t first, count;             // rows of the image that the first pass makes; columns where vertical_first
  std::int32_t x_size, y_size;           // weights kept for one output column, row
  bool vertical_first;

  // What lies between the passes: uint8 [count, out_width, 3], or [out_height, count, channels] where vertical_first.
  std::int64_t between_bytes() const {
    return vertical_first ? std::int64_t{out_height} * count * channels : std::int64_t{count} * out_width * 3;
  }
};

struct ResizePlan {
  ResizeShape shape;
  std::vector<Taps> x_taps, y_taps;  // [out_width], [out_height]; those of the second pass count from `first`
  std::vector<std::int32_t> x_weights, y_weights;  // [out_width, x_size], [out_height, y_size]
  std::uint8_t fill;                               // of the rest of the output
};

// Throws Error(E_ARGUMENT) as preprocess() does.
ResizePlan plan_resize(std::int32_t width, std::int32_t height, std::int32_t channels, const Transform& transform);

}  // namespace torchclip::core
