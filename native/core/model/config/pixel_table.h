// Converts the bytes of an image to the input values of a model.
#pragma once

#include <cstdint>

namespace torchclip::core {

// The values of (v / 255 - mean) / std for each channel and byte, computed in the order of ToTensor and Normalize, so
// that they have the reference's bits.
struct PixelTable {
  float value[3][256];
  std::uint16_t bf16[3][256];  // `value` rounded to bf16.
  PixelTable(const double* mean, const double* std);
};

}  // namespace torchclip::core
