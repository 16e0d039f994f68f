#include "model/config/pixel_table.h"

#include "kernels/kernels.h"

namespace torchclip::core {

PixelTable::PixelTable(const double* mean, const double* std) {
  for (int c = 0; c < 3; ++c) {
    for (int v = 0; v < 256; ++v) {
      value[c][v] = (static_cast<float>(v) / 255.0f - static_cast<float>(mean[c])) / static_cast<float>(std[c]);
      bf16[c][v] = to_bf16(value[c][v]);
    }
  }
}

}  // namespace torchclip::core
