// A CLIP model's image transform up to uint8: resize, crop or fill, RGB.
#pragma once

#include "image/resize.h"

namespace torchclip::core {

constexpr std::int32_t kMostSide = 1 << 24;  // of an image that is given, pixels

enum class Resize {
  kShortest,  // the shorter side to `resized`, then the centre crop (OpenAI)
  kSquash,    // both sides to `resized` (SigLIP), then the centre crop
  kLongest,   // the longer side to the size, the rest filled: open_clip's ResizeKeepRatio and CenterCropOrPad
};

// Where the centre crop begins when the side less the size is odd.
enum class Crop {
  kRound,  // round((side - size) / 2), half to even: torchvision, open_clip, OpenAI
  kFloor,  // (side - size) / 2, rounded down: transformers
};

struct Transform {
  std::int32_t size = 0;  // of the square output, pixels
  Resize resize = Resize::kShortest;
  Filter filter = Filter::kBicubic;
  std::uint8_t fill = 0;     // grey level of what kLongest fills
  std::int32_t resized = 0;  // side that kShortest and kSquash resize to, at least `size`; 0: `size`
  Crop crop = Crop::kRound;
};

// What a image is resized to, the window of that which is kept, and where the window lies in the output.
struct Geometry {
  std::int64_t width, height;
  Window window;
  std::int32_t left, top;
};

// Throws Error(E_ARGUMENT) for an image without pixels and for a transform that would crop beyond the resized image.
Geometry geometry(std::int32_t width, std::int32_t height, const Transform& transform);

// `out`: uint8 [size, size, 3]. Geometry as torchvision and open_clip on a PIL image. For kShortest: the longer side is
// int(resized * long / short). Throws Error(E_ARGUMENT) for an image without pixels or with other than 1, 3, 4
// channels.
void preprocess(const Image& image, const Transform& transform, std::uint8_t* out);

}  // namespace torchclip::core
