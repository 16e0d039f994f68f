// The two transforms of a 3 x 3 convolution by F(2 x 2, 3 x 3) (Lavin and Gray 2016, Fast Algorithms for Convolutional
// Neural Networks), over the channels of a tile, for the instruction set that this file is compiled for. See kernels.h.
#pragma once

#include "kernels/vector.h"

namespace {

// Computes B^T d B of a 4 x 4 patch; `V` is a register or a single float.
template <typename V, typename Load, typename Store>
void winograd_input_at(const Load& load_tap, const Store& store_product) {
  V rows[4][4];
  for (int x = 0; x < 4; ++x) {
    const V a = load_tap(x), b = load_tap(4 + x), c = load_tap(8 + x), d = load_tap(12 + x);
    rows[0][x] = a - c;
    rows[1][x] = b + c;
    rows[2][x] = c - b;
    rows[3][x] = b - d;
  }
  for (int y = 0; y < 4; ++y) {
    const V* r = rows[y];
    store_product(4 * y, r[0] - r[2]);
    store_product(4 * y + 1, r[1] + r[2]);
    store_product(4 * y + 2, r[2] - r[1]);
    store_product(4 * y + 3, r[1] - r[3]);
  }
}

// Computes A^T m A: the sixteen products to 2 x 2 pixels.
template <typename V, typename Load, typename Store>
void winograd_output_at(const Load& load_product, const Store& store_pixel) {
  V rows[2][4];
  for (int x = 0; x < 4; ++x) {
    const V a = load_product(x), b = load_product(4 + x), c = load_product(8 + x), d = load_product(12 + x);
    rows[0][x] = a + b + c;
    rows[1][x] = b - c - d;
  }
  for (int y = 0; y < 2; ++y) {
    const V* r = rows[y];
    store_pixel(2 * y, r[0] + r[1] + r[2]);
    store_pixel(2 * y + 1, r[1] - r[2] - r[3]);
  }
}

void winograd_input(const float* const* taps, std::int64_t channels, float* out, std::int64_t distance) {
  std::int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    winograd_input_at<Floats>([&](int i) { return load(taps[i] + c); },
                              [&](int i, Floats v) { store(out + i * distance + c, v); });
  }
  for (; c < channels; ++c) {
    winograd_input_at<float>([&](int i) { return taps[i][c]; }, [&](int i, float v) { out[i * distance + c] = v; });
  }
}

void winograd_output(const float* products, std::int64_t distance, std::int64_t channels, const float* bias,
                     float* const* pixels) {
  std::int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    const Floats b = load(bias + c);
    winograd_output_at<Floats>([&](int i) { return load(products + i * distance + c); },
                               [&](int i, Floats v) {
                                 if (pixels[i]) store(pixels[i] + c, max_of(v + b, zero()));
                               });
  }
  for (; c < channels; ++c) {
    winograd_output_at<float>([&](int i) { return products[i * distance + c]; },
                              [&](int i, float v) {
                                const float y = v + bias[c];
                                if (pixels[i]) pixels[i][c] = y > 0 ? y : 0.0f;
                              });
  }
}

}  // namespace
