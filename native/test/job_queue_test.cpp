// The queue: order, bound, and every job told exactly once.
#include "base/job_queue.h"

#include <atomic>
#include <future>
#include <numeric>
#include <thread>
#include <vector>

#include "check.h"

using namespace torchclip::core;
using torchclip::test::first_difference;
using torchclip::test::outcome_of;

TEST_CASE("one thread takes the jobs in the order in which they were posted") {
  std::vector<int> order, expected(100);
  std::iota(expected.begin(), expected.end(), 0);
  JobQueue queue(1);
  for (const int i : expected) queue.post([&order, i](bool) { order.push_back(i); });
  std::promise<void> end;
  queue.post([&](bool) { end.set_value(); });
  end.get_future().wait();
  CHECK(first_difference(order, expected) == "");
}

TEST_CASE("a full queue is busy, and a stop cancels what waits") {
  std::promise<void> gate, started;
  const auto opened = gate.get_future().share();
  std::atomic<int> ran{0}, cancelled{0};
  JobQueue queue(1, 3);
  queue.post([&, opened](bool) {
    started.set_value();
    opened.wait();
    ++ran;
  });
  started.get_future().wait();
  for (int i = 0; i < 3; ++i) queue.post([&](bool is_cancelled) { ++(is_cancelled ? cancelled : ran); });
  CHECK(outcome_of([&] { queue.post([](bool) {}); }) == TORCHCLIP_E_BUSY);
  std::thread opener([&] {
    while (cancelled < 3) std::this_thread::yield();
    gate.set_value();
  });
  queue.stop();
  opener.join();
  CHECK(ran == 1);
  CHECK(cancelled == 3);
  CHECK(outcome_of([&] { queue.post([](bool) {}); }) == TORCHCLIP_E_CLOSED);
}
