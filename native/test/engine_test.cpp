// An engine of several copies: they work at once, each on a thread of its own, and give the same.
//   engine_test ARTIFACT
#include "engine.h"

#include <atomic>
#include <chrono>
#include <future>
#include <vector>

#include "check.h"

using namespace torchclip::core;

namespace {

Failure wait(const std::function<void(Engine::Done)>& start) {
  std::promise<Failure> end;
  start([&end](const Failure& failure) { end.set_value(failure); });
  return end.get_future().get();
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) return 2;
  constexpr int kCopies = 3, kJobs = 12;
  Engine engine;
  RunnerOptions options;
  options.device = "cpu";
  options.threads = 1;
  options.replicas = kCopies;
  CHECK(wait([&](Engine::Done done) { engine.load(arguments[1], options, std::move(done)); }).status == TORCHCLIP_OK);
  const auto& info = engine.info();
  CHECK(info.replicas == kCopies && info.device == "cpu,cpu,cpu");

  const std::vector<std::uint8_t> pixels(static_cast<std::size_t>(info.image_size) * info.image_size * 3, 90);
  std::vector<std::vector<float>> results(kJobs, std::vector<float>(static_cast<std::size_t>(info.embed_dim)));
  std::vector<std::promise<Failure>> ends(kJobs);
  std::atomic<int> inside{0}, most{0};
  for (int j = 0; j < kJobs; ++j) {
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
  for (auto& end : ends) CHECK(end.get_future().get().status == TORCHCLIP_OK);
  CHECK(most == kCopies);
  for (const auto& result : results) CHECK(result == results[0]);
  CHECK(engine.memory().weights > 0);
  engine.close();
  CHECK(engine.memory().weights == 0);

  Engine none;
  options.device = "cuda:all";
  options.replicas = 0;
  const auto failure = wait([&](Engine::Done done) { none.load(arguments[1], options, std::move(done)); });
  CHECK(failure.status == TORCHCLIP_OK || failure.status == TORCHCLIP_E_CUDA_UNAVAILABLE);
  CHECK(failure.status == TORCHCLIP_OK || failure.message.rfind("cuda:all is not available: ", 0) == 0);
  return torchclip::test::failures();
}
