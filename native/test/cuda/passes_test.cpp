// How batches are divided into passes, and which sizes captured passes have.
#include "passes.h"

#include <vector>

#include "check.h"
#include "test_device.h"

using namespace torchclip::cuda;
using torchclip::test::first_difference;

namespace {

std::vector<std::int64_t> divided(std::int64_t rows, std::int64_t most, bool from_host) {
  std::vector<std::int64_t> passes;
  for (std::int64_t done = 0; done < rows; done += passes.back()) {
    passes.push_back(next_rows(done, rows - done, most, from_host));
  }
  return passes;
}

}  // namespace

TEST_CASE("a pass has 128 tokens for each multiprocessor") {
  const auto device = test_device();
  CHECK(pass_tokens(*device) == 128 * device->multiprocessors());
}

TEST_CASE("whole passes come first, the remainder last") {
  CHECK(first_difference(divided(1000, 337, false), std::vector<std::int64_t>{337, 337, 326}) == "");
  CHECK(first_difference(divided(130, 65, true), std::vector<std::int64_t>{65, 65}) == "");
  CHECK(first_difference(divided(7, 337, true), std::vector<std::int64_t>{7}) == "");
}

TEST_CASE("a large call from the host's memory begins with a small pass") {
  CHECK(first_difference(divided(256, 337, true), std::vector<std::int64_t>{64, 192}) == "");
  CHECK(first_difference(divided(1000, 337, true), std::vector<std::int64_t>{64, 337, 337, 262}) == "");
}

TEST_CASE("captured passes are padded by a third at most, above 16 rows by 7 rows at most") {
  for (std::int64_t n = 1; n <= kCapturedRows; ++n) {
    const auto size = row_bucket(n);
    CHECK(size >= n);
    CHECK(row_bucket(size) == size);
    CHECK(3 * (size - n) <= size);
    if (n > 16) CHECK(size - n <= 7);
  }
}

TEST_CASE("larger passes are not padded") {
  CHECK(computed_rows(33) == 40);
  CHECK(computed_rows(kCapturedRows) == kCapturedRows);
  CHECK(computed_rows(65) == 65);
  CHECK(computed_rows(337) == 337);
}

TEST_CASE("the tokens of captured texts: an eighth of padding at most above 256") {
  CHECK(token_bucket(1) == 16);
  for (std::int64_t n = 1; n <= 77 * kCapturedRows; ++n) {
    const auto size = token_bucket(n);
    CHECK(size >= n);
    CHECK(token_bucket(size) == size);
    if (n > 256) CHECK(8 * (size - n) <= n);
  }
}
