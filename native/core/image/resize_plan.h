// The resampling of an image as tables, for a device that runs the two passes itself. The fixed-point taps are those of
// resize_window, so that integer arithmetic gives the same bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "image/preprocess.h"

namespace torchclip::core {

constexpr int kResizeBits = 32 - 8 - 2;  // The fraction bits of the weights: PRECISION_BITS in Pillow's Resample.c.

// The taps of one output row or column: input positions [first, first + count) and their fixed-point weights.
struct Taps {
  std::int32_t first, count;
};

struct ResizeShape {
  std::int32_t width, height, channels;  // The size of the input image.
  std::int32_t size;                     // The side of the square output.
  std::int32_t out_width, out_height;    // The part of the output that the image fills,
  std::int32_t out_left, out_top;        // and its position.
  std::int32_t first, count;             // The rows that the first pass makes; columns if vertical_first.
  std::int32_t x_size, y_size;           // The number of weights per output column and per output row.
  bool vertical_first;

  // The size of the intermediate image between the passes: uint8 [count, out_width, 3], or [out_height, count,
  // channels] if vertical_first.
  std::int64_t between_bytes() const {
    return vertical_first ? std::int64_t{out_height} * count * channels : std::int64_t{count} * out_width * 3;
  }
};

struct ResizePlan {
  ResizeShape shape;
  std::vector<Taps> x_taps, y_taps;  // [out_width], [out_height]; positions of the second pass are relative to `first`.
  std::vector<std::int32_t> x_weights, y_weights;  // [out_width, x_size], [out_height, y_size]
  std::uint8_t fill;                               // The grey level of the rest of the output.
};

// Throws Error(E_ARGUMENT) in the same cases as preprocess().
ResizePlan plan_resize(std::int32_t width, std::int32_t height, std::int32_t channels, const Transform& transform);

}  // namespace torchclip::core
