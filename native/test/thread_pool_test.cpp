// The thread pool calls the work once for each index.
#include "linalg/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <thread>
#include <vector>

#include "check.h"
#include "machine.h"

TEST_CASE("every index is worked on once in each of many rounds") {
  constexpr int kRounds = 200, kCount = 1000;
  for (const int threads : torchclip::test::kThreadCounts) {
    CAPTURE(threads);
    torchclip::core::ThreadPool pool(threads);
    std::vector<int> seen(kCount, 0);
    for (int round = 0; round < kRounds; ++round) {
      pool.parallel_for(kCount, [&](std::int64_t i) { ++seen[static_cast<std::size_t>(i)]; });
    }
    CHECK(std::count(seen.begin(), seen.end(), kRounds) == kCount);
  }
}

TEST_CASE("a caller that waits long for a helper sleeps") {
  constexpr auto kPause = std::chrono::milliseconds(300);
  torchclip::core::ThreadPool pool(2);
  const auto caller = std::this_thread::get_id();
  std::atomic<bool> helper_pauses = false;
  const std::clock_t before = std::clock();
  pool.parallel_for(2, [&](std::int64_t) {
    if (std::this_thread::get_id() != caller) {
      helper_pauses = true;
      std::this_thread::sleep_for(kPause);
      return;
    }
    while (!helper_pauses) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  const double seconds = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  CHECK(helper_pauses);
  CHECK(seconds < 0.15);  // CPU time of the process; half of the pause
}
