// fp16, bf16 and E4M3 as the CUDA kernels convert them, on the host.
#include "numbers.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "check.h"
#include "values.h"

using namespace torchclip::cuda;
using torchclip::test::next_random;

TEST_CASE("every fp16 and every bf16 number is converted there and back") {
  for (std::uint32_t i = 0; i < 0x10000; ++i) {
    CAPTURE(i);
    const auto bits = static_cast<std::uint16_t>(i);
    const float half = to_float(Half{bits}), bf16 = to_float(Bf16{bits});
    if (!std::isnan(half)) CHECK(from_float<Half>(half).bits == bits);
    if (!std::isnan(bf16)) CHECK(from_float<Bf16>(bf16).bits == bits);
  }
}

TEST_CASE("fp16 is rounded to nearest, ties to even") {
  CHECK(to_float(from_float<Half>(1.0f / 3)) == 0.333251953125f);
  CHECK(to_float(Half{0x0001}) == 5.9604644775390625e-08f);
  CHECK(from_float<Half>(65519.996f).bits == 0x7bff);
  CHECK(from_float<Half>(65520.0f).bits == 0x7c00);
  CHECK(from_float<Half>(2.98023224e-08f).bits == 0);
  CHECK(from_float<Half>(2.98023260e-08f).bits == 1);
  CHECK(from_float<Half>(1.0f + 1.0f / 2048).bits == 0x3c00);
  CHECK(from_float<Half>(1.0f + 3.0f / 2048).bits == 0x3c02);
}

TEST_CASE("bf16 is rounded to nearest, ties to even") {
  CHECK(from_float<Bf16>(1.00390625f).bits == 0x3f80);
  CHECK(from_float<Bf16>(1.01171875f).bits == 0x3f82);
}

TEST_CASE("E4M3 has the numbers of its definition") {
  struct Case {
    std::uint8_t bits;
    float value;
  };
  constexpr Case kCases[] = {{0x00, 0},
                             {0x01, 0.001953125f},
                             {0x07, 0.013671875f},
                             {0x08, 0.015625f},
                             {0x09, 0.017578125f},
                             {0x30, 0.5f},
                             {0x38, 1},
                             {0x39, 1.125f},
                             {0x3c, 1.5f},
                             {0x40, 2},
                             {0x48, 4},
                             {0x7d, 416},
                             {0x7e, 448},
                             {0x81, -0.001953125f},
                             {0xb8, -1},
                             {0xfe, -448}};
  for (const auto& c : kCases) {
    CAPTURE(c.value);
    CHECK(to_float(E4m3{c.bits}) == c.value);
    CHECK(from_float<E4m3>(c.value).bits == c.bits);
  }
  CHECK(std::signbit(to_float(E4m3{0x80})));
  CHECK(from_float<E4m3>(-0.0f).bits == 0x80);
  CHECK(std::isnan(to_float(E4m3{0x7f})));
  CHECK(std::isnan(to_float(E4m3{0xff})));
  for (std::uint32_t i = 0; i < 0x100; ++i) {
    CAPTURE(i);
    const float value = to_float(E4m3{static_cast<std::uint8_t>(i)});
    if (!std::isnan(value)) CHECK(from_float<E4m3>(value).bits == i);
  }
}

TEST_CASE("E4M3 is rounded to nearest, ties to even, and saturates at 448") {
  CHECK(from_float<E4m3>(1.0625f).bits == 0x38);  // between 1 and 1.125
  CHECK(from_float<E4m3>(1.1875f).bits == 0x3a);  // between 1.125 and 1.25
  CHECK(from_float<E4m3>(std::nextafter(1.0625f, 2.0f)).bits == 0x39);
  CHECK(from_float<E4m3>(1.9375f).bits == 0x40);     // up to the next power of two
  CHECK(from_float<E4m3>(0.0009765625f).bits == 0);  // half of the least number
  CHECK(from_float<E4m3>(0.0029296875f).bits == 2);  // one and a half
  CHECK(from_float<E4m3>(0.0146484375f).bits == 8);  // between the subnormal and the normal numbers
  CHECK(from_float<E4m3>(432.0f).bits == 0x7e);
  CHECK(from_float<E4m3>(431.99f).bits == 0x7d);
  for (const float large : {449.0f, 464.0f, 1e30f, INFINITY}) {
    CHECK(from_float<E4m3>(large).bits == 0x7e);
    CHECK(from_float<E4m3>(-large).bits == 0xfe);
  }
  CHECK((from_float<E4m3>(NAN).bits & 0x7f) == 0x7f);
  CHECK(from_float<E4m3>(1e-30f).bits == 0);
}

TEST_CASE("E4M3: of 100,000 numbers each becomes the nearest one") {
  std::uint32_t seed = 1;
  for (int n = 0; n < 100000; ++n) {
    const int exponent = static_cast<int>(next_random(seed) >> 27) - 16;
    const float x = std::ldexp(1.0f + static_cast<float>(next_random(seed) >> 9) / (1 << 23), exponent);
    const double distance = std::abs(static_cast<double>(to_float(from_float<E4m3>(x))) - x);
    double least = INFINITY;
    for (std::uint32_t i = 0; i < 0x7f; ++i) {
      least = std::min(least, std::abs(static_cast<double>(to_float(E4m3{static_cast<std::uint8_t>(i)})) - x));
    }
    REQUIRE(distance == least);
  }
}
