// An engine of several copies: they work at once, each on a thread of its own, and give the same.
//   core_engine_test ARTIFACT
#include "engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "engine_calls.h"

using namespace torchclip::core;
using namespace torchclip::test;

TEST_CASE("copies of a model work at once and give the same") {
  constexpr int kCopies = 3, kJobs = 12;
  Engine engine;
  RunnerOptions options;
  options.device = "cpu";
  options.threads = 1;
  options.replicas = kCopies;
  REQUIRE(load(engine, options) == TORCHCLIP_OK);
  const auto& info = engine.info();
  CHECK(info.replicas == kCopies);
  CHECK(info.device == "cpu,cpu,cpu");

  const auto side = static_cast<std::size_t>(info.image_size);
  const std::vector<std::uint8_t> pixels(side * side * 3, 90);
  std::vector<std::vector<float>> results(kJobs, std::vector<float>(static_cast<std::size_t>(info.embed_dim)));
  std::vector<std::promise<Failure>> ends(kJobs);
  std::atomic<int> inside{0}, most{0};
  for (std::size_t j = 0; j < kJobs; ++j) {
    engine.run(
        [&, j](Runner& runner) {
          most = std::max(most.load(), ++inside);
          // The first jobs wait until all copies have one: if a copy were shared or idle, they would wait in vain.
          for (int i = 0; j < kCopies && most < kCopies && i < 2000; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
          }
          runner.encode_pixels(pixels.data(), 1, results[j].data(), true);
          --inside;
        },
        nullptr, [&ends, j](const Failure& failure) { ends[j].set_value(failure); });
  }
  for (auto& end : ends) {
    const Failure failure = end.get_future().get();
    CHECK(Outcome{failure.status, failure.message} == TORCHCLIP_OK);
  }
  CHECK(most == kCopies);
  for (const auto& result : results) CHECK(first_difference(result, results[0]) == "");
  CHECK(engine.memory().weights > 0);
  engine.close();
  CHECK(engine.memory().weights == 0);
}

TEST_CASE("all GPUs are loaded, or the engine says why there are none") {
  Engine engine;
  RunnerOptions options;
  options.device = "cuda:all";
  options.threads = 1;
  options.replicas = 0;
  const Outcome outcome = load(engine, options);
  if (outcome == TORCHCLIP_OK) return;
  CHECK(outcome == TORCHCLIP_E_CUDA_UNAVAILABLE);
  const std::string expected = "cuda:all is not available: ";
  CHECK(outcome.message.substr(0, expected.size()) == expected);
}
