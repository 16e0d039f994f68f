// A tower is made once for a key while a runner holds it, and again afterwards; a failure leaves nothing behind.
#include "model/cpu/shared_tower.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"

using namespace torchclip::core;

namespace {

class NoTower : public TextTower {
 public:
  void encode(const Context&, Arena&, const std::int32_t*, std::int64_t, const Matrix&, Cancel) const override {}
  std::size_t bytes() const override { return 0; }
};

using MadeTower = std::unique_ptr<TextTower>;

class Maker {
 public:
  std::shared_ptr<const TextTower> tower_of(const std::string& key) {
    return shared_tower<TextTower>(key, [this] {
      ++made;
      return std::make_unique<NoTower>();
    });
  }

  int made = 0;
};

}  // namespace

TEST_CASE("a tower is made once for a key while someone holds it") {
  Maker maker;
  auto first = maker.tower_of("a");
  auto second = maker.tower_of("a");
  CHECK(first == second);
  CHECK(maker.made == 1);
  CHECK(maker.tower_of("b") != first);
  CHECK(maker.made == 2);
  first.reset();
  CHECK(maker.tower_of("a") == second);
  CHECK(maker.made == 2);
  second.reset();
  const auto again = maker.tower_of("a");
  CHECK(maker.made == 3);
}

TEST_CASE("a failure leaves nothing behind") {
  Maker maker;
  const auto fail = []() -> MadeTower { throw std::runtime_error("no memory"); };
  CHECK_THROWS_AS(shared_tower<TextTower>("c", fail), std::runtime_error);
  CHECK(maker.tower_of("c") != nullptr);
  CHECK(maker.made == 1);
}

TEST_CASE("a tower that is not supported is null, and the key stays free") {
  Maker maker;
  CHECK(shared_tower<TextTower>("e", [] { return MadeTower(); }) == nullptr);
  CHECK(maker.tower_of("e") != nullptr);
}

TEST_CASE("many threads that ask at once get the same tower") {
  Maker maker;
  std::vector<std::shared_ptr<const TextTower>> found(8);
  std::vector<std::thread> threads;
  for (auto& tower : found) {
    threads.emplace_back([&tower, &maker] { tower = maker.tower_of("d"); });
  }
  for (auto& thread : threads) thread.join();
  CHECK(maker.made == 1);
  for (const auto& tower : found) CHECK(tower == found[0]);
}
