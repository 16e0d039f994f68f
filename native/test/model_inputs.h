// Images and texts for a model, and what two runners make of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "model/runner.h"
#include "values.h"

namespace torchclip::test {

using Rows = std::vector<float>;

// An image with large shapes, so that embeddings differ.
inline std::vector<std::uint8_t> striped_image(std::int32_t width, std::int32_t height, std::uint32_t seed) {
  std::vector<std::uint8_t> pixels;
  const auto a = next_random(seed) >> 24, b = next_random(seed) >> 24;
  const auto step = 3 + (next_random(seed) >> 28);
  for (std::uint32_t y = 0; y < static_cast<std::uint32_t>(height); ++y) {
    for (std::uint32_t x = 0; x < static_cast<std::uint32_t>(width); ++x) {
      for (std::uint32_t c = 0; c < 3; ++c) {
        pixels.push_back(static_cast<std::uint8_t>((x / step % 2 ? a : b) + y * c / 2));
      }
    }
  }
  return pixels;
}

struct Inputs {
  std::int64_t images = 5, texts = 7;
  std::vector<std::uint8_t> pixels;
  std::vector<std::int32_t> ids;
  std::int32_t length = 0;
};

inline Inputs inputs_for(const core::ModelInfo& info) {
  Inputs in;
  for (std::uint32_t i = 0; i < in.images; ++i) {
    const auto pixels = striped_image(info.image_size, info.image_size, i + 1);
    in.pixels.insert(in.pixels.end(), pixels.begin(), pixels.end());
  }
  in.length = info.context_length;
  std::uint32_t seed = 5;
  for (std::int64_t t = 0; t < in.texts; ++t) {
    std::int32_t words = 0;
    if (t == 1) words = in.length - 2;
    if (t > 1) words = static_cast<std::int32_t>(next_random(seed) >> 29);
    std::vector<std::int32_t> row(static_cast<std::size_t>(in.length), info.pad_id);
    row[0] = info.vocab_size - 2;
    for (std::int32_t i = 0; i < words; ++i) {
      const auto word = next_random(seed) % static_cast<std::uint32_t>(info.vocab_size - 3);
      row[static_cast<std::size_t>(1 + i)] = static_cast<std::int32_t>(1 + word);
    }
    row[static_cast<std::size_t>(1 + words)] = info.vocab_size - 1;
    in.ids.insert(in.ids.end(), row.begin(), row.end());
  }
  return in;
}

struct Embeddings {
  Rows images, texts;
};

inline Embeddings encode(core::Runner& runner, const Inputs& in) {
  const std::int64_t dim = runner.info().embed_dim;
  Embeddings out{Rows(static_cast<std::size_t>(in.images * dim)), Rows(static_cast<std::size_t>(in.texts * dim))};
  runner.encode_pixels(in.pixels.data(), in.images, out.images.data(), true);
  runner.encode_tokens(in.ids.data(), in.texts, in.length, out.texts.data(), true);
  return out;
}

// The pooled features of the images, of length 1.
inline Rows encode_pooled(core::Runner& runner, const Inputs& in) {
  Rows out(static_cast<std::size_t>(in.images * runner.info().pooled_dim));
  runner.encode_pixels(in.pixels.data(), in.images, out.data(), true, nullptr, core::ImageOutput::pooled);
  return out;
}

// The least cosine of two rows [dim]; -1 where one is no number.
inline double least_cosine(const Rows& a, const Rows& b, std::int64_t dim) {
  double least = 1;
  const auto width = static_cast<std::size_t>(dim);
  for (std::size_t row = 0; row < a.size(); row += width) {
    double dot = 0, aa = 0, bb = 0;
    for (std::size_t i = row; i < row + width; ++i) {
      const double x = a[i], y = b[i];
      dot += x * y;
      aa += x * x;
      bb += y * y;
    }
    const double cosine = dot / std::sqrt(aa * bb);
    least = std::isnan(cosine) ? -1 : std::min(least, cosine);
  }
  return least;
}

inline double largest_difference(const Rows& a, const Rows& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = larger_error(largest, std::abs(a[i] - b[i]));
  return largest;
}

// `runner`: what ModelInfo says of a tower.
inline bool is_fast(const std::string& runner, const std::string& precision) {
  return runner.starts_with("fast " + precision);
}

}  // namespace torchclip::test
