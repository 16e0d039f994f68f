// Towers are made once for a key while a runner holds them, and again afterwards; a failure leaves nothing behind.
#include "model/cpu/shared_towers.h"

#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"

using namespace torchclip::core;

int main() {
  int made = 0;
  const auto make = [&] {
    ++made;
    return Towers{};
  };
  auto first = shared_towers("a", make);
  auto second = shared_towers("a", make);
  CHECK(first == second && made == 1);
  CHECK(shared_towers("b", make) != first && made == 2);
  first.reset();
  CHECK(shared_towers("a", make) == second && made == 2);
  second.reset();
  const auto again = shared_towers("a", make);
  CHECK(made == 3);

  bool thrown = false;
  try {
    shared_towers("c", []() -> Towers { throw std::runtime_error("no memory"); });
  } catch (const std::runtime_error&) {
    thrown = true;
  }
  CHECK(thrown && shared_towers("c", make) && made == 4);

  std::vector<std::shared_ptr<const Towers>> found(8);
  std::vector<std::thread> threads;
  for (auto& towers : found) {
    threads.emplace_back([&towers, &make] { towers = shared_towers("d", make); });
  }
  for (auto& thread : threads) thread.join();
  CHECK(made == 5);
  for (const auto& towers : found) CHECK(towers == found[0]);
  return torchclip::test::failures();
}
