// The thread pool calls the work once for each index.
#include "linalg/thread_pool.h"

#include <algorithm>
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
