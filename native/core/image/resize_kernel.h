// The taps of a resize: which input positions each output row or column is made of, with their fixed-point weights.
// Filters, positions and rounding are those of Pillow's Resample.c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "image/preprocess.h"
#include "image/resize_plan.h"

namespace torchclip::core {

struct ResizeKernel {
  std::vector<Taps> taps;
  std::vector<std::int32_t> weights;  // [taps.size(), size]
  std::int32_t size = 0;

  ResizeKernel() = default;
  ResizeKernel(std::int32_t length, std::int32_t weights_each)
      : taps(static_cast<std::size_t>(length)),
        weights(static_cast<std::size_t>(length) * static_cast<std::size_t>(weights_each)),
        size(weights_each) {}

  const Taps& taps_of(std::int32_t i) const { return taps[static_cast<std::size_t>(i)]; }
  const std::int32_t* weights_of(std::int32_t i) const { return weights.data() + std::ptrdiff_t{i} * size; }
};

// The taps of the outputs [begin, begin + length) of a resize from `in` to `out` positions.
ResizeKernel make_kernel(std::int32_t in, std::int64_t out, std::int64_t begin, std::int32_t length, Filter filter);

// Taps that copy: one of weight 1, which the fixed-point arithmetic keeps exactly.
ResizeKernel copying_kernel(std::int64_t begin, std::int32_t length);

// Input positions [first, last) that the taps touch.
struct TouchedRange {
  std::int32_t first, last;
};

TouchedRange touched(const ResizeKernel& kernel);

// Whether the vertical pass comes first. The order shows in the rounding between the passes.
bool vertical_first(std::int64_t width, std::int64_t height, std::int64_t new_width, std::int64_t new_height);

}  // namespace torchclip::core
