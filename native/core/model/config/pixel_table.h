// Bytes of an image as the values that a model takes.
#pragma once

#include <cstdint>

namespace torchclip::core {

// (v / 255 - mean) / std of each channel and byte, in the order of ToTensor and Normalize: the reference's bits.
struct PixelTable {
  float value[3][256];
  std::uint16_t bf16[3][256];  // the same as bf16
  PixelTable(const double* mean, const double* std);
};

}  // namespace torchclip::core
