#include "image/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/error.h"

namespace torchclip::core {
namespace {

// Python's int(round(d / 2.0)): half to even.
std::int64_t half_to_even(std::int64_t d) {
  const std::int64_t q = d >> 1;
  return (d & 1) && (q & 1) ? q + 1 : q;
}

// open_clip's ResizeKeepRatio(longest=1) and CenterCropOrPad.
void fit_longest(const Image& image, const Transform& t, std::uint8_t* out) {
  const double ratio = static_cast<double>(std::max(image.width, image.height)) / t.size;
  // Python's round: half to even, as nearbyint does by default.
  const auto scaled = [&](std::int32_t side) {
    return std::max<std::int32_t>(1, static_cast<std::int32_t>(std::nearbyint(side / ratio)));
  };
  const std::int32_t w = scaled(image.width), h = scaled(image.height);
  std::vector<std::uint8_t> small(static_cast<std::size_t>(w) * h * 3);
  resize_window(image, w, h, {0, 0, w, h}, t.filter, small.data());
  std::memset(out, t.fill, static_cast<std::size_t>(t.size) * t.size * 3);
  const std::int32_t left = (t.size - w) / 2, top = (t.size - h) / 2;
  for (std::int32_t y = 0; y < h; ++y) {
    std::memcpy(out + (static_cast<std::size_t>(top + y) * t.size + left) * 3,
                small.data() + static_cast<std::size_t>(y) * w * 3, static_cast<std::size_t>(w) * 3);
  }
}

}  // namespace

void preprocess(const Image& image, const Transform& t, std::uint8_t* out) {
  const auto [pixels, w, h, channels] = image;
  if (!pixels || w < 1 || h < 1 || (channels != 1 && channels != 3 && channels != 4)) {
    throw Error(TORCHCLIP_E_ARGUMENT, "a picture needs at least 1 x 1 pixels and 1, 3 or 4 channels, not " +
                                          std::to_string(w) + " x " + std::to_string(h) + " x " +
                                          std::to_string(channels));
  }
  const std::int32_t size = t.size;
  if (t.resize == Resize::kLongest) return fit_longest(image, t, out);
  if (t.resize == Resize::kSquash) return resize_window(image, size, size, {0, 0, size, size}, t.filter, out);
  const std::int32_t shorter = w < h ? w : h;
  // int(size * long / short): Python's / is a division of exact integers rounded to double, then truncated.
  const auto scaled = [&](std::int32_t side) {
    return static_cast<std::int64_t>(static_cast<double>(static_cast<std::int64_t>(size) * side) / shorter);
  };
  const std::int64_t new_w = w <= h ? size : scaled(w);
  const std::int64_t new_h = h <= w ? size : scaled(h);
  const Window window{half_to_even(new_w - size), half_to_even(new_h - size), size, size};
  resize_window(image, new_w, new_h, window, t.filter, out);
}

}  // namespace torchclip::core
