// The pixels that a convolution over an image reads, as rows of a matrix multiplication.
#pragma once

#include <cstdint>

#include "linalg/packed.h"
#include "model/config/pixel_table.h"

namespace torchclip::core {

// The neighbourhood of each result of a convolution.
struct Window {
  std::int64_t kernel = 1, stride = 1, padding = 0;
  std::int64_t side(std::int64_t size) const { return (size + 2 * padding - kernel) / stride + 1; }  // Of the result.
  std::int64_t inner() const { return 3 * kernel * kernel; }
};

// Writes the neighbourhoods in the order (line, column, channel) to the rows of taps: f32 or bf16 [images * side *
// side, window.inner()], with zeros outside the image. pixels: uint8 [images, size, size, 3].
void pixel_taps(const Context& context, const PixelTable& table, const std::uint8_t* pixels, std::int64_t size,
                const Window& window, const Matrix& taps);

}  // namespace torchclip::core
