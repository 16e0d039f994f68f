#include "model/cpu/pixel_taps.h"

#include <algorithm>

namespace torchclip::core {
namespace {

// Writes the neighbourhoods of one line of results. `image`: the pixels of the image.
template <typename T>
void line_taps(const T (&table)[3][256], const std::uint8_t* image, std::int64_t size, const Window& window,
               std::int64_t y, const Matrix& taps) {
  const std::int64_t kernel = window.kernel, top = y * window.stride - window.padding;
  for (std::int64_t x = 0; x < taps.rows; ++x) {
    const std::int64_t left = x * window.stride - window.padding;
    T* to = taps.row<T>(x);
    for (std::int64_t dy = 0; dy < kernel; ++dy) {
      const bool outside = top + dy < 0 || top + dy >= size;
      for (std::int64_t dx = 0; dx < kernel; ++dx, to += 3) {
        if (outside || left + dx < 0 || left + dx >= size) {
          std::fill_n(to, 3, T{});
          continue;
        }
        const std::uint8_t* pixel = image + ((top + dy) * size + left + dx) * 3;
        for (int c = 0; c < 3; ++c) to[c] = table[c][pixel[c]];
      }
    }
  }
}

}  // namespace

void pixel_taps(const Context& context, const PixelTable& table, const std::uint8_t* pixels, std::int64_t size,
                const Window& window, const Matrix& taps) {
  const std::int64_t side = window.side(size), images = taps.rows / (side * side);
  context.pool.parallel_for(images * side, [&](std::int64_t task) {
    const std::uint8_t* image = pixels + task / side * size * size * 3;
    const Matrix line = taps.row_slice(task * side, side);
    if (taps.type == DType::f32) {
      line_taps(table.value, image, size, window, task % side, line);
    } else {
      line_taps(table.bf16, image, size, window, task % side, line);
    }
  });
}

}  // namespace torchclip::core
