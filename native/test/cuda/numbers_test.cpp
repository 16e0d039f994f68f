// fp16 and bf16 as the CUDA kernels convert them, on the host.
#include "numbers.h"

#include <cmath>
#include <cstdint>

#include "check.h"

using namespace torchclip::cuda;

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
