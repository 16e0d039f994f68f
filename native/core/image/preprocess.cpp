#include "image/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace torchclip::core {
namespace {

// Python's int(round(d / 2.0)): half to even.
std::int64_t half_to_even(std::int64_t d) {
  const std::int64_t q = d >> 1;
  return (d & 1) && (q & 1) ? q + 1 : q;
}

}  // namespace

Geometry geometry(std::int32_t w, std::int32_t h, const Transform& t) {
  if (w < 1 || h < 1) {
    throw Error(TORCHCLIP_E_ARGUMENT,
                "an image needs at least 1 x 1 pixels, not " + std::to_string(w) + " x " + std::to_string(h));
  }
  const std::int32_t size = t.size, resized = t.resized ? t.resized : size;
  if (resized < size) {
    throw Error(TORCHCLIP_E_ARGUMENT, "an image cannot be resized to " + std::to_string(resized) +
                                          " pixels and then be cropped to " + std::to_string(size));
  }
  const auto crop_origin = [&](std::int64_t side) {
    return t.crop == Crop::kFloor ? (side - size) / 2 : half_to_even(side - size);
  };
  if (t.resize == Resize::kSquash) {
    return {resized, resized, {crop_origin(resized), crop_origin(resized), size, size}, 0, 0};
  }
  if (t.resize == Resize::kLongest) {  // open_clip's ResizeKeepRatio(longest=1) and CenterCropOrPad
    const double ratio = static_cast<double>(std::max(w, h)) / size;
    // Python's round: half to even, as nearbyint does by default.
    const auto scaled = [&](std::int32_t side) {
      return std::max<std::int32_t>(1, static_cast<std::int32_t>(std::nearbyint(side / ratio)));
    };
    const std::int32_t width = scaled(w), height = scaled(h);
    return {width, height, {0, 0, width, height}, (size - width) / 2, (size - height) / 2};
  }
  const std::int32_t shorter = std::min(w, h);
  // int(resized * long / short): Python's / is a division of exact integers rounded to double, then truncated.
  const auto scaled = [&](std::int32_t side) {
    return static_cast<std::int64_t>(static_cast<double>(static_cast<std::int64_t>(resized) * side) / shorter);
  };
  const std::int64_t width = w <= h ? resized : scaled(w), height = h <= w ? resized : scaled(h);
  return {width, height, {crop_origin(width), crop_origin(height), size, size}, 0, 0};
}

void preprocess(const Image& image, const Transform& t, std::uint8_t* out) {
  if (!image.pixels || (image.channels != 1 && image.channels != 3 && image.channels != 4)) {
    throw Error(TORCHCLIP_E_ARGUMENT,
                "an image needs pixels and 1, 3 or 4 channels, not " + std::to_string(image.channels));
  }
  const auto g = geometry(image.width, image.height, t);
  if (g.window.width == t.size && g.window.height == t.size) {
    return resize_window(image, g.width, g.height, g.window, t.filter, out);
  }
  const auto size = static_cast<std::size_t>(t.size), left = static_cast<std::size_t>(g.left);
  const auto width = static_cast<std::size_t>(g.window.width), height = static_cast<std::size_t>(g.window.height);
  std::vector<std::uint8_t> small(width * height * 3);
  resize_window(image, g.width, g.height, g.window, t.filter, small.data());
  std::memset(out, t.fill, size * size * 3);
  for (std::size_t y = 0; y < height; ++y) {
    const std::size_t out_row = static_cast<std::size_t>(g.top) + y;
    std::memcpy(out + (out_row * size + left) * 3, small.data() + y * width * 3, width * 3);
  }
}

}  // namespace torchclip::core
