// Towers are made once for a key while a runner holds them, and again afterwards; a failure leaves nothing behind.
#include "model/cpu/shared_towers.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"

using namespace torchclip::core;

namespace {

class Maker {
 public:
  std::shared_ptr<const Towers> towers_of(const std::string& key) {
    return shared_towers(key, [this] {
      ++made;
      return Towers{};
    });
  }

  int made = 0;
};

}  // namespace

TEST_CASE("towers are made once for a key while someone holds them") {
  Maker maker;
  auto first = maker.towers_of("a");
  auto second = maker.towers_of("a");
  CHECK(first == second);
  CHECK(maker.made == 1);
  CHECK(maker.towers_of("b") != first);
  CHECK(maker.made == 2);
  first.reset();
  CHECK(maker.towers_of("a") == second);
  CHECK(maker.made == 2);
  second.reset();
  const auto again = maker.towers_of("a");
  CHECK(maker.made == 3);
}

TEST_CASE("a failure leaves nothing behind") {
  Maker maker;
  const auto fail = []() -> Towers { throw std::runtime_error("no memory"); };
  CHECK_THROWS_AS(shared_towers("c", fail), std::runtime_error);
  CHECK(maker.towers_of("c") != nullptr);
  CHECK(maker.made == 1);
}

TEST_CASE("many threads that ask at once get the same towers") {
  Maker maker;
  std::vector<std::shared_ptr<const Towers>> found(8);
  std::vector<std::thread> threads;
  for (auto& towers : found) {
    threads.emplace_back([&towers, &maker] { towers = maker.towers_of("d"); });
  }
  for (auto& thread : threads) thread.join();
  CHECK(maker.made == 1);
  for (const auto& towers : found) CHECK(towers == found[0]);
}
