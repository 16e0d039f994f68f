// Numbers of 16 bits: widened to float32, and rounded back.
#include <cmath>
#include <cstdint>
#include <vector>

#include "check.h"
#include "kernels/kernels.h"

using namespace torchclip::core;

namespace {

struct NumberFormat {
  std::uint16_t (*round)(float);
  Widen widen;
  std::uint16_t infinity;
};

// Every number, widened and back, and what lies between two of them. The last number is left out, so that the kernel
// ends within a register.
void check_every_number(const NumberFormat& format) {
  constexpr std::size_t kCount = 65535;
  std::vector<std::uint16_t> all(kCount);
  std::vector<float> wide(kCount);
  for (std::size_t i = 0; i < kCount; ++i) all[i] = static_cast<std::uint16_t>(i);
  format.widen(all.data(), static_cast<std::int64_t>(kCount), wide.data());
  for (std::size_t i = 0; i < kCount; ++i) {
    CAPTURE(i);
    const std::uint16_t magnitude = all[i] & 0x7fff;
    if (magnitude > format.infinity) {
      CHECK(std::isnan(wide[i]));
      continue;
    }
    CHECK(format.round(wide[i]) == all[i]);
    if (magnitude + 1 >= format.infinity || i + 1 >= kCount) continue;
    const float middle = wide[i] / 2 + wide[i + 1] / 2;
    const std::uint16_t even = i % 2 == 0 ? all[i] : all[i + 1];
    CHECK(format.round(middle) == even);
    CHECK(format.round(std::nextafter(middle, wide[i])) == all[i]);
    CHECK(format.round(std::nextafter(middle, wide[i + 1])) == all[i + 1]);
  }
}

}  // namespace

TEST_CASE("every bf16 number is widened and rounded back, ties to even") {
  check_every_number({to_bf16, kernels()->widen_bf16, 0x7f80});
}

TEST_CASE("every fp16 number is widened and rounded back, ties to even") {
  check_every_number({to_fp16, kernels()->widen_fp16, 0x7c00});
}

TEST_CASE("fp16 of numbers that are too large is infinity, of numbers that are too small zero") {
  CHECK(to_fp16(65519.0f) == 0x7bff);
  CHECK(to_fp16(65520.0f) == 0x7c00);
  CHECK(to_fp16(-1e30f) == 0xfc00);
  CHECK(to_fp16(5.9604645e-8f) == 1);
  CHECK(to_fp16(2e-8f) == 0);
}

TEST_CASE("fp16 of small integers is exact") {
  CHECK(to_fp16(1.0f) == 0x3c00);
  CHECK(to_fp16(-2.0f) == 0xc000);
}
