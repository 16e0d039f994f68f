// Geometry and exactness of preprocessing; Pillow's own results are compared in test/images.
#include <numeric>
#include <utility>
#include <vector>

#include "check.h"
#include "image/preprocess.h"

using namespace torchclip::core;
using torchclip::test::first_difference;
using torchclip::test::outcome_of;

namespace {

constexpr std::int32_t kSize = 8;
constexpr std::size_t kPixels = kSize * kSize;

using Bytes = std::vector<std::uint8_t>;

Bytes preprocessed(const Image& image) {
  Bytes out(kPixels * 3);
  preprocess(image, {kSize}, out.data());
  return out;
}

Bytes different_pixels() {
  Bytes rgb(kPixels * 3);
  std::iota(rgb.begin(), rgb.end(), std::uint8_t{0});
  return rgb;
}

// The left side of the crop of a square image that is resized to `resized` and cropped to 30.
std::int64_t crop_left(std::int32_t resized, Crop crop) {
  return geometry(40, 40, {30, Resize::kSquash, Filter::kBox, 0, resized, crop}).window.left;
}

}  // namespace

TEST_CASE("an image of the model's size passes untouched") {
  const Bytes rgb = different_pixels();
  CHECK(first_difference(preprocessed({rgb.data(), kSize, kSize, 3}), rgb) == "");
}

TEST_CASE("grey becomes RGB") {
  const Bytes grey(kPixels, 77);
  CHECK(first_difference(preprocessed({grey.data(), kSize, kSize, 1}), Bytes(kPixels * 3, 77)) == "");
}

TEST_CASE("a flat colour stays flat at every size, also where a pass sums hundreds of taps") {
  for (const std::pair<std::int32_t, std::int32_t>& size :
       {std::pair{1, 1}, {1, 900}, {900, 1}, {3000, 7}, {7, 3000}, {65, 64}}) {
    const std::int32_t width = size.first, height = size.second;
    CAPTURE(width);
    CAPTURE(height);
    const Bytes flat(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 4, 200);
    CHECK(first_difference(preprocessed({flat.data(), width, height, 4}), Bytes(kPixels * 3, 200)) == "");
  }
}

TEST_CASE("the crop of an odd difference begins at the rounded or at the lower half") {
  CHECK(crop_left(33, Crop::kRound) == 2);
  CHECK(crop_left(33, Crop::kFloor) == 1);
  CHECK(crop_left(31, Crop::kRound) == 0);
  CHECK(crop_left(31, Crop::kFloor) == 0);
}

TEST_CASE("images and transforms that cannot be are refused") {
  const Bytes rgb = different_pixels();
  Bytes out(kPixels * 3);
  const Transform plain{kSize}, crop_outside{kSize, Resize::kShortest, Filter::kBicubic, 0, kSize - 1};
  const auto outcome = [&](const Image& image, const Transform& transform) {
    return outcome_of([&] { preprocess(image, transform, out.data()); });
  };
  CHECK(outcome({rgb.data(), 8, 8, 3}, crop_outside) == TORCHCLIP_E_ARGUMENT);
  CHECK(outcome({rgb.data(), 0, 8, 3}, plain) == TORCHCLIP_E_ARGUMENT);
  CHECK(outcome({rgb.data(), 8, 8, 2}, plain) == TORCHCLIP_E_ARGUMENT);
  CHECK(outcome({nullptr, 8, 8, 3}, plain) == TORCHCLIP_E_ARGUMENT);
}
