// The 8-bit resampling of Pillow 13 (src/libImaging/Resample.c), bit for bit. Coefficients are computed in double and
// rounded to 22-bit fixed point. There is one pass per direction, with rounding to uint8 between them.
#pragma once

#include <cstdint>
#include <vector>

namespace torchclip::core {

// The filters of Pillow's Resample.c. The values equal those of `image_filter` in an artifact.
enum class Filter { kBicubic, kBilinear, kBox, kHamming, kLanczos };

// A window of the resized image: the part that the crop keeps.
struct Window {
  std::int64_t left, top;
  std::int32_t width, height;
};

struct Image {
  const std::uint8_t* pixels;            // uint8 [height, width, channels], rows packed
  std::int32_t width, height, channels;  // channels 1 (grey), 3 (RGB) or 4 (RGBA, alpha ignored)
};

// Resizes `image` to new_width x new_height and writes the window as RGB, uint8 [window.height, window.width, 3]. Only
// pixels that the window needs are computed, so extreme aspect ratios cost nothing extra.
void resize_window(const Image& image, std::int64_t new_width, std::int64_t new_height, const Window& window,
                   Filter filter, std::uint8_t* out);

}  // namespace torchclip::core
