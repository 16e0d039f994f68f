// A picture's way through the resampler as tables, for a device that runs the two passes itself: the same fixed-point
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
  std::int32_t width, height, channels;  // of the picture
  std::int32_t size;                     // of the square output
  std::int32_t outWidth, outHeight;      // of the part of it that the picture fills,
  std::int32_t outLeft, outTop;          // and where that lies
  std::int32_t first, count;             // rows of the picture that the first pass makes; columns where verticalFirst
  std::int32_t xSize, ySize;             // weights kept for one output column, row
  bool verticalFirst;

  // What lies between the passes: uint8 [count, outWidth, 3], or [outHeight, count, channels] where verticalFirst.
  std::int64_t between_bytes() const {
    return verticalFirst ? std::int64_t{outHeight} * count * channels : std::int64_t{count} * outWidth * 3;
  }
};

struct ResizePlan {
  ResizeShape shape;
  std::vector<Taps> xTaps, yTaps;                // [outWidth], [outHeight]; those of the second pass count from `first`
  std::vector<std::int32_t> xWeights, yWeights;  // [outWidth, xSize], [outHeight, ySize]
  std::uint8_t fill;                             // of the rest of the output
};

// Throws Error(E_ARGUMENT) as preprocess() does.
ResizePlan plan_resize(std::int32_t width, std::int32_t height, std::int32_t channels, const Transform& transform);

}  // namespace torchclip::core
