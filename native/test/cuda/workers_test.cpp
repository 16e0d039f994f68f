// The threads of the host beside a GPU.
#include "workers.h"

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.h"
#include "values.h"

using torchclip::cuda::Workers;

TEST_CASE("every piece of work is done once, for any number of threads") {
  for (const unsigned threads : {1u, 2u, 5u}) {
    Workers workers(threads);
    for (const std::int64_t count : {0, 1, 2, 100}) {
      std::vector<std::atomic<int>> done(static_cast<std::size_t>(count));
      workers.run(count, [&](std::int64_t i) { ++done[static_cast<std::size_t>(i)]; });
      for (const auto& times : done) CHECK(times == 1);
    }
  }
}

TEST_CASE("an exception of the work reaches the caller, and the threads work on afterwards") {
  Workers workers(3);
  for (int round = 0; round < 3; ++round) {
    std::string message;
    try {
      workers.run(50, [](std::int64_t i) {
        if (i == 20) throw std::runtime_error("piece 20");
      });
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    CHECK(message == "piece 20");
    std::atomic<int> done{0};
    workers.run(50, [&](std::int64_t) { ++done; });
    CHECK(done == 50);
  }
}

TEST_CASE("copies of every size: the same bytes, and none behind them") {
  Workers workers(3);
  for (const std::size_t size : {0u, 1u, 1000u, 1u << 20, (5u << 20) + 7u}) {
    std::vector<std::uint8_t> from(size), to(size + 1, 77);
    std::uint32_t seed = 4;
    for (auto& byte : from) byte = static_cast<std::uint8_t>(torchclip::test::next_random(seed) >> 24);
    workers.copy(to.data(), from.data(), size);
    CHECK(to.back() == 77);
    to.pop_back();
    CHECK(to == from);
  }
}
