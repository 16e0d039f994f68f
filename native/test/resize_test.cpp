// Geometry and exactness of preprocessing; Pillow's own results are compared in test/images.
#include <numeric>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "image/preprocess.h"

using namespace torchclip::core;

int main() {
  // A image of the model's size passes untouched; grey and RGBA become RGB.
  std::vector<std::uint8_t> rgb(8 * 8 * 3), out(8 * 8 * 3);
  std::iota(rgb.begin(), rgb.end(), std::uint8_t{0});
  preprocess({rgb.data(), 8, 8, 3}, {8}, out.data());
  CHECK(out == rgb);
  std::vector<std::uint8_t> grey(64, 77);
  preprocess({grey.data(), 8, 8, 1}, {8}, out.data());
  CHECK(out == std::vector<std::uint8_t>(192, 77));

  // A flat colour stays flat at every size, also where a pass sums hundreds of taps.
  for (const auto& [w, h] : {std::pair{1, 1}, {1, 900}, {900, 1}, {3000, 7}, {7, 3000}, {65, 64}}) {
    const std::vector<std::uint8_t> flat(static_cast<std::size_t>(w) * h * 4, 200);
    preprocess({flat.data(), w, h, 4}, {8}, out.data());
    CHECK(out == std::vector<std::uint8_t>(192, 200));
  }

  // Where the crop of an odd difference begins: 33 pixels less 30, 31 less 30.
  const auto left = [](std::int32_t resized, Crop crop) {
    return geometry(40, 40, {30, Resize::kSquash, Filter::kBox, 0, resized, crop}).window.left;
  };
  CHECK(left(33, Crop::kRound) == 2 && left(33, Crop::kFloor) == 1);
  CHECK(left(31, Crop::kRound) == 0 && left(31, Crop::kFloor) == 0);

  using torchclip::test::status_of;
  CHECK(status_of<Error>([&] {
          preprocess({rgb.data(), 8, 8, 3}, {8, Resize::kShortest, Filter::kBicubic, 0, 7}, out.data());
        }) == TORCHCLIP_E_ARGUMENT);
  CHECK(status_of<Error>([&] { preprocess({rgb.data(), 0, 8, 3}, {8}, out.data()); }) == TORCHCLIP_E_ARGUMENT);
  CHECK(status_of<Error>([&] { preprocess({rgb.data(), 8, 8, 2}, {8}, out.data()); }) == TORCHCLIP_E_ARGUMENT);
  CHECK(status_of<Error>([&] { preprocess({nullptr, 8, 8, 3}, {8}, out.data()); }) == TORCHCLIP_E_ARGUMENT);
  return torchclip::test::failures();
}
