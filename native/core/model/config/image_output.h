// What an image tower gives for an image.
#pragma once

#include <cstdint>

namespace torchclip::core {

// embedding: the vector that texts are compared with, after the projection. pooled: the image feature before the
// projection, as it is: never normalised by a tower. Both have the same values where a model has no projection.
enum class ImageOutput : std::int32_t { embedding = 0, pooled = 1 };

}  // namespace torchclip::core
