// The resize kernels against preprocess(), whose bytes are Pillow's.
#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "bench.h"
#include "check.h"
#include "image/preprocess.h"
#include "image/resize_plan.h"

using namespace torchclip::cuda;
using torchclip::test::first_difference;
namespace core = torchclip::core;

namespace {

constexpr std::int32_t kSize = 32;
constexpr std::int64_t kBytes = kSize * kSize * 3;

// Images of one batch, resized on the device, and what preprocess() makes of each.
class ResizeBatch {
 public:
  ResizeBatch(Bench& bench, const core::Transform& transform) : bench_(bench), transform_(transform) {}

  void add(const core::Image& image) {
    expected_.emplace_back(kBytes);
    core::preprocess(image, transform_, expected_.back().data());
    const auto plan = core::plan_resize(image.width, image.height, image.channels, transform_);
    const std::vector<std::uint8_t> pixels(image.pixels,
                                           image.pixels + std::int64_t{image.width} * image.height * image.channels);
    const auto between = plan.shape.between_bytes();
    auto* out = bench_.put(std::vector<std::uint8_t>(kBytes, plan.fill));
    jobs_.push_back({bench_.put(pixels), bench_.put(std::vector<std::uint8_t>(static_cast<std::size_t>(between))), out,
                     bench_.put(plan.x_taps), bench_.put(plan.y_taps), bench_.put(plan.x_weights),
                     bench_.put(plan.y_weights), plan.shape});
    results_.push_back(out);
    most_ = std::max({most_, between, kBytes});
  }

  void check() {
    resize(bench_.stream(), bench_.put(jobs_), static_cast<std::int64_t>(jobs_.size()), most_);
    for (std::size_t i = 0; i < jobs_.size(); ++i) {
      CAPTURE(i);
      CHECK(first_difference(bench_.get<std::uint8_t>(results_[i], expected_[i].size()), expected_[i]) == "");
    }
  }

 private:
  Bench& bench_;
  core::Transform transform_;
  std::vector<ResizeJob> jobs_;
  std::vector<std::vector<std::uint8_t>> expected_;
  std::vector<const std::uint8_t*> results_;
  std::int64_t most_ = 0;
};

void check_transform(const core::Transform& transform) {
  const std::array<std::int32_t, 3> shapes[] = {{1, 1, 3},    {32, 32, 3},  {64, 48, 3}, {31, 90, 4}, {200, 40, 1},
                                                {40, 500, 3}, {32, 300, 4}, {7, 5, 1},   {33, 32, 3}, {300, 300, 3}};
  Bench bench;
  ResizeBatch batch(bench, transform);
  std::uint32_t seed = 20;
  for (const auto& [width, height, channels] : shapes) {
    const auto pixels = random_bytes(std::int64_t{width} * height * channels, ++seed);
    batch.add({pixels.data(), width, height, channels});
  }
  batch.check();
}

}  // namespace

TEST_CASE("the shortest side, bicubic") {
  check_transform({kSize, core::Resize::kShortest, core::Filter::kBicubic, 0});
}

TEST_CASE("squashed, bilinear") { check_transform({kSize, core::Resize::kSquash, core::Filter::kBilinear, 0}); }

TEST_CASE("the longest side, bicubic, filled") {
  check_transform({kSize, core::Resize::kLongest, core::Filter::kBicubic, 127});
}

TEST_CASE("the shortest side, Lanczos, cropped") {
  check_transform({kSize, core::Resize::kShortest, core::Filter::kLanczos, 0, 37, core::Crop::kFloor});
}

TEST_CASE("squashed, box, cropped") {
  check_transform({kSize, core::Resize::kSquash, core::Filter::kBox, 0, 37, core::Crop::kFloor});
}

TEST_CASE("the shortest side, Hamming") {
  check_transform({kSize, core::Resize::kShortest, core::Filter::kHamming, 0});
}
