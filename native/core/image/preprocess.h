// CLIP's image transform up to uint8: Resize(size, bicubic), CenterCrop(size), RGB.
#pragma once

#include "image/resize.h"

namespace torchclip::core {

// `out`: uint8 [size, size, 3]. Geometry as torchvision's Resize and CenterCrop on a PIL image (what
// openai/CLIP's clip.py `_transform` calls): the longer side is int(size * long / short), the crop's origin is
// round half to even. Throws Error(E_ARGUMENT) for a picture without pixels or with other than 1, 3, 4 channels.
void preprocess(const Image& image, std::int32_t size, std::uint8_t* out);

}  // namespace torchclip::core
