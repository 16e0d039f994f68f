#include "image/preprocess.h"

#include <cmath>

#include "runtime/error.h"

namespace torchclip::core {
namespace {

// Python's int(round(d / 2.0)): half to even.
std::int64_t half_to_even(std::int64_t d) {
  const std::int64_t q = d >> 1;
  return (d & 1) && (q & 1) ? q + 1 : q;
}

}  // namespace

void preprocess(const Image& image, std::int32_t size, std::uint8_t* out) {
  const auto [pixels, w, h, channels] = image;
  if (!pixels || w < 1 || h < 1 || (channels != 1 && channels != 3 && channels != 4)) {
    throw Error(TORCHCLIP_E_ARGUMENT, "a picture needs at least 1 x 1 pixels and 1, 3 or 4 channels, not " +
                                          std::to_string(w) + " x " + std::to_string(h) + " x " +
                                          std::to_string(channels));
  }
  const std::int32_t shorter = w < h ? w : h;
  // int(size * long / short): Python's / is a division of exact integers rounded to double, then truncated.
  const auto scaled = [&](std::int32_t side) {
    return static_cast<std::int64_t>(static_cast<double>(static_cast<std::int64_t>(size) * side) / shorter);
  };
  const std::int64_t new_w = w <= h ? size : scaled(w);
  const std::int64_t new_h = h <= w ? size : scaled(h);
  const Window window{half_to_even(new_w - size), half_to_even(new_h - size), size, size};
  resize_window(image, new_w, new_h, window, Filter::kBicubic, out);
}

}  // namespace torchclip::core
