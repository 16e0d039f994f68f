#include "calibration.h"

#include <algorithm>
#include <cmath>

namespace torchclip::cuda {
namespace {

// Numbers that are spread evenly. A seed gives the same numbers on every machine.
class Random {
 public:
  explicit Random(std::uint32_t seed) : state_(seed * 2654435761u + 1) {}
  std::uint32_t below(std::uint32_t limit) {
    state_ = state_ * 1664525u + 1013904223u;
    return static_cast<std::uint32_t>(std::uint64_t{state_} * limit >> 32);
  }

 private:
  std::uint32_t state_;
};

std::uint8_t byte_of(double x) { return static_cast<std::uint8_t>(std::clamp(x, 0.0, 255.0)); }

// `value(x, y, c)` gives each byte of an image.
template <typename Value>
void add_image(std::vector<std::uint8_t>& pixels, std::int64_t size, Value&& value) {
  for (std::int64_t y = 0; y < size; ++y) {
    for (std::int64_t x = 0; x < size; ++x) {
      for (std::size_t c = 0; c < 3; ++c) pixels.push_back(value(x, y, c));
    }
  }
}

void add_plain(std::vector<std::uint8_t>& pixels, std::int64_t size, int batch) {
  constexpr std::uint8_t kColours[kCalibrationBatches][3] = {{0, 0, 0}, {255, 255, 255}, {200, 60, 30}};
  add_image(pixels, size, [&](std::int64_t, std::int64_t, std::size_t c) { return kColours[batch][c]; });
}

void add_waves(std::vector<std::uint8_t>& pixels, std::int64_t size, Random& random) {
  double across[3], down[3], begin[3];
  for (auto* waves : {across, down, begin}) {
    for (int c = 0; c < 3; ++c) waves[c] = random.below(800) / 100.0;
  }
  add_image(pixels, size, [&](std::int64_t x, std::int64_t y, std::size_t c) {
    const double place =
        (across[c] * static_cast<double>(x) + down[c] * static_cast<double>(y)) / static_cast<double>(size);
    return byte_of(128 + 110 * std::sin(place + begin[c]) + random.below(20));
  });
}

void add_blocks(std::vector<std::uint8_t>& pixels, std::int64_t size, Random& random) {
  constexpr std::int64_t kBlocks = 7;  // a side
  std::vector<std::uint8_t> colours;
  for (std::int64_t i = 0; i < kBlocks * kBlocks * 3; ++i)
    colours.push_back(static_cast<std::uint8_t>(random.below(256)));
  add_image(pixels, size, [&](std::int64_t x, std::int64_t y, std::size_t c) {
    const std::int64_t block = y * kBlocks / size * kBlocks + x * kBlocks / size;
    return colours[static_cast<std::size_t>(block * 3) + c];
  });
}

void add_noise(std::vector<std::uint8_t>& pixels, std::int64_t size, Random& random) {
  add_image(pixels, size,
            [&](std::int64_t, std::int64_t, std::size_t) { return static_cast<std::uint8_t>(random.below(256)); });
}

}  // namespace

std::vector<std::uint8_t> calibration_pixels(std::int64_t size, int batch) {
  Random random(static_cast<std::uint32_t>(batch) + 1);
  std::vector<std::uint8_t> pixels;
  pixels.reserve(static_cast<std::size_t>(kCalibrationRows * size * size * 3));
  add_plain(pixels, size, batch);
  add_waves(pixels, size, random);
  add_blocks(pixels, size, random);
  add_noise(pixels, size, random);
  return pixels;
}

std::vector<std::int32_t> calibration_ids(std::int64_t length, std::int64_t vocabulary, std::int32_t end_id,
                                          int batch) {
  Random random(static_cast<std::uint32_t>(batch) + 101);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(kCalibrationRows * length), 0);
  const auto words = static_cast<std::uint32_t>(std::max<std::int64_t>(1, vocabulary - 2));
  for (std::int64_t row = 0; row < kCalibrationRows; ++row) {
    auto* text = &ids[static_cast<std::size_t>(row * length)];
    const std::int64_t last = std::max<std::int64_t>(0, length * (row + 1) / kCalibrationRows - 1);
    for (std::int64_t i = 0; i < last; ++i) text[i] = static_cast<std::int32_t>(random.below(words));
    if (vocabulary > 2) text[0] = static_cast<std::int32_t>(vocabulary - 2);
    text[last] = end_id;
  }
  return ids;
}

}  // namespace torchclip::cuda
