// The queue: order, bound, and every job told exactly once.
#include <atomic>
#include <future>
#include <vector>

#include "base/error.h"
#include "base/job_queue.h"
#include "check.h"

using namespace torchclip::core;

int main() {
  {
    std::vector<int> order;
    JobQueue one(1);
    for (int i = 0; i < 100; ++i) one.post([&order, i](bool) { order.push_back(i); });
    std::promise<void> end;
    one.post([&](bool) { end.set_value(); });
    end.get_future().wait();
    CHECK(order.size() == 100 && order.front() == 0 && order.back() == 99);
  }
  {
    std::promise<void> gate;
    auto opened = gate.get_future().share();
    std::atomic<int> ran{0}, cancelled{0};
    JobQueue pool(1, 3);
    std::promise<void> started;
    pool.post([&, opened](bool) {
      started.set_value();
      opened.wait();
      ++ran;
    });
    started.get_future().wait();
    for (int i = 0; i < 3; ++i) pool.post([&](bool c) { ++(c ? cancelled : ran); });
    CHECK(torchclip::test::status_of<Error>([&] { pool.post([](bool) {}); }) == TORCHCLIP_E_BUSY);
    std::thread opener([&] {
      while (cancelled < 3) std::this_thread::yield();
      gate.set_value();
    });
    pool.stop();
    opener.join();
    CHECK(ran == 1 && cancelled == 3);
    CHECK(torchclip::test::status_of<Error>([&] { pool.post([](bool) {}); }) == TORCHCLIP_E_CLOSED);
  }
  return torchclip::test::failures();
}
