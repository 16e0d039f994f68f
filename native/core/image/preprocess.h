// The image transform of a CLIP model up to uint8: resize, crop or fill, RGB.
#pragma once

#include "image/resize.h"

namespace torchclip::core {

constexpr std::int32_t kMostSide = 1 << 24;  // The largest side of an input image, in pixels.

enum class Resize {
  kShortest,  // Resizes the shorter side to `resized`, then takes the centre crop (OpenAI).
  kSquash,    // Resizes both sides to `resized`, then takes the centre crop (SigLIP).
  kLongest,   // Resizes the longer side to `size` and fills the rest (open_clip's ResizeKeepRatio, CenterCropOrPad).
};

// How the position of the centre crop is rounded when side - size is odd.
enum class Crop {
  kRound,  // round((side - size) / 2), half to even: torchvision, open_clip, OpenAI
  kFloor,  // (side - size) / 2, rounded down: transformers
};

struct Transform {
  std::int32_t size = 0;  // The side of the square output, in pixels.
  Resize resize = Resize::kShortest;
  Filter filter = Filter::kBicubic;
  std::uint8_t fill = 0;     // The grey level that kLongest fills with.
  std::int32_t resized = 0;  // The side that kShortest and kSquash resize to, at least `size`; 0 means `size`.
  Crop crop = Crop::kRound;
};

// The size that an image is resized to, the window of it that is kept, and the position of the window in the output.
struct Geometry {
  std::int64_t width, height;
  Window window;
  std::int32_t left, top;
};

// Throws Error(E_ARGUMENT) for an image without pixels and for a transform that would crop beyond the resized image.
Geometry geometry(std::int32_t width, std::int32_t height, const Transform& transform);

// `out`: uint8 [size, size, 3]. The geometry is that of torchvision and open_clip on a PIL image; for kShortest the
// longer side is int(resized * long / short). Throws Error(E_ARGUMENT) for an image without pixels or with a number of
// channels other than 1, 3 or 4.
void preprocess(const Image& image, const Transform& transform, std::uint8_t* out);

}  // namespace torchclip::core
