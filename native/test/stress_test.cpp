// What must hold when everything happens at once; meant for ThreadSanitizer (scripts/sanitize), and quick without it.
// Nothing here includes libtorch or Node, so that all code that runs is instrumented.
//   core_stress_test [SECONDS]    for each case; default: 2
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/job_queue.h"
#include "check.h"
#include "files.h"
#include "linalg/thread_pool.h"
#include "search/index.h"
#include "values.h"

using namespace torchclip::core;
using namespace torchclip::test;

namespace {

using Clock = std::chrono::steady_clock;

// When a case that begins now ends.
Clock::time_point end_of_case() {
  const auto& asked = torchclip::test::arguments();
  const std::chrono::duration<double> seconds(asked.empty() ? 2 : std::stod(asked[0]));
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(seconds);
}

// Runs each piece of work again and again on a thread of its own, until the time is over.
void together(const std::vector<std::function<void(unsigned round)>>& work) {
  const auto end = end_of_case();
  std::vector<std::thread> threads;
  for (const auto& one : work) {
    threads.emplace_back([&] {
      for (unsigned round = 0; Clock::now() < end; ++round) one(round);
    });
  }
  for (auto& thread : threads) thread.join();
}

// Checks that `work` ends well or with one of the errors that are allowed; says whether it ended well.
template <typename Work>
bool check_done_or(std::initializer_list<torchclip_status> allowed, Work&& work) {
  const Outcome outcome = outcome_of(work);
  const bool is_ok = outcome == TORCHCLIP_OK;
  const bool is_allowed = is_ok || std::count(allowed.begin(), allowed.end(), outcome.status) > 0;
  CHECK_MESSAGE(is_allowed, outcome);
  return is_ok;
}

constexpr std::int64_t kDim = 32;

// Row `row` is known by its values, so that a reader sees whether what it read is whole.
std::vector<float> rows_from(std::int64_t first, std::int64_t count) {
  std::vector<float> rows(static_cast<std::size_t>(count * kDim));
  for (std::int64_t r = 0; r < count; ++r) {
    std::fill_n(rows.begin() + r * kDim, kDim, static_cast<float>((first + r) % 100 + 1));
  }
  return rows;
}

void check_row(const float* numbers, std::int64_t row, double tolerance) {
  const auto expected = static_cast<float>(row % 100 + 1);
  double largest = 0;
  for (std::int64_t i = 0; i < kDim; ++i) largest = larger_error(largest, std::abs(numbers[i] - expected));
  CAPTURE(row);
  CAPTURE(numbers[0]);
  CHECK(largest <= tolerance);
}

class SharedIndex {
 public:
  explicit SharedIndex(DType type) : type_(type), index_(std::make_shared<Index>(type, kDim)) {}

  void add(unsigned round) {
    const auto index = get();
    const std::int64_t count = 1 + round * 37 % 800;
    const std::int64_t first = index->rows();
    const auto rows = rows_from(first, count);
    check_done_or({TORCHCLIP_E_CLOSED}, [&] {
      if (round % 5 != 0) return;
      index->stage(rows.data(), count, 1000);
      index->discard();
    });
    check_done_or({TORCHCLIP_E_CLOSED}, [&] { index->add(rows.data(), count); });
  }

  void search(unsigned round) {
    const auto index = get();
    const auto rows = index->rows();
    if (rows == 0) return;
    const auto k = static_cast<std::int32_t>(std::min<std::int64_t>(rows, 5)), count = round % 3 == 0 ? 20 : 1;
    const std::vector<float> queries(static_cast<std::size_t>(count * kDim), 1.0f);
    std::vector<std::int32_t> indices(static_cast<std::size_t>(count * k));
    std::vector<float> scores(indices.size());
    std::vector<std::uint8_t> bits(static_cast<std::size_t>(rows / 8 + 1), round % 2 == 0 ? 0x01 : 0xFF);
    const RowFilter filter = round % 4 == 0 ? RowFilter{} : RowFilter{bits.data(), rows};
    const auto hits = static_cast<std::size_t>(std::min<std::int64_t>(k, filter.count(rows)));
    const bool is_open = check_done_or({TORCHCLIP_E_CLOSED}, [&] {
      index->search({queries.data(), count, k, filter}, {indices.data(), scores.data()});
    });
    if (!is_open) return;
    CHECK(indices[0] >= 0);
    CHECK(filter.passes(indices[0]));
    CHECK(scores[0] >= scores[hits - 1]);
    if (hits < static_cast<std::size_t>(k)) CHECK(indices[hits] == -1);
  }

  void vector(unsigned round) {
    const auto index = get();
    const auto rows = index->rows();
    if (rows == 0) return;
    std::vector<float> out(kDim);
    const std::int64_t row = round * 7919 % rows;
    const bool is_open = check_done_or({TORCHCLIP_E_CLOSED}, [&] { index->read(row, 1, out.data()); });
    if (is_open) check_row(out.data(), row, tolerance());
    index->bytes();
  }

  // As `save` reads: in parts, as many rows as there are when it begins.
  void save(unsigned) {
    const auto index = get();
    const std::int64_t rows = index->rows(), part = 1000;
    std::vector<float> out(static_cast<std::size_t>(part * kDim));
    for (std::int64_t start = 0; start < rows; start += part) {
      const std::int64_t count = std::min(part, rows - start);
      const bool is_open = outcome_of([&] { index->read(start, count, out.data()); }) == TORCHCLIP_OK;
      for (std::int64_t r = 0; is_open && r < count; ++r) check_row(out.data() + r * kDim, start + r, tolerance());
    }
  }

  void close(unsigned) {
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    auto fresh = std::make_shared<Index>(type_, kDim);
    {
      std::lock_guard lock(mutex_);
      fresh.swap(index_);
    }
    fresh->close();
  }

 private:
  std::shared_ptr<Index> get() {
    std::lock_guard lock(mutex_);
    return index_;
  }

  double tolerance() const { return type_ == DType::f32 ? 0 : 1; }

  const DType type_;
  std::mutex mutex_;
  std::shared_ptr<Index> index_;
};

void stress_index(DType type) {
  SharedIndex shared(type);
  const auto call = [&](void (SharedIndex::*method)(unsigned)) {
    return [&shared, method](unsigned round) { (shared.*method)(round); };
  };
  together({call(&SharedIndex::add), call(&SharedIndex::search), call(&SharedIndex::search), call(&SharedIndex::vector),
            call(&SharedIndex::vector), call(&SharedIndex::save), call(&SharedIndex::close)});
}

}  // namespace

TEST_CASE("thread pool: every index once, and the exception of a task") {
  ThreadPool pool(4);
  std::vector<std::int64_t> seen(1000);
  const auto end = end_of_case();
  for (unsigned round = 0; Clock::now() < end; ++round) {
    const std::int64_t count = round % 7 == 0 ? 1 : round % 1000;
    CAPTURE(count);
    std::fill(seen.begin(), seen.end(), 0);
    pool.parallel_for(count, [&](std::int64_t i) { ++seen[static_cast<std::size_t>(i)]; });
    CHECK(std::count(seen.begin(), seen.end(), 1) == count);
    const Outcome outcome = outcome_of([&] {
      pool.parallel_for(count, [&](std::int64_t i) {
        if (i % 100 == 50) throw Error(TORCHCLIP_E_INTERNAL, "task");
      });
    });
    CHECK(outcome == (count > 50 ? TORCHCLIP_E_INTERNAL : TORCHCLIP_OK));
  }
}

// Jobs from many threads, threads that are added, and a stop in the middle.
TEST_CASE("job queue: each job that is posted is told exactly once") {
  const auto end = end_of_case();
  while (Clock::now() < end) {
    std::atomic<int> posted{0}, told{0};
    JobQueue queue(2, 64);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 200; ++i) {
          ++posted;
          const bool is_posted =
              check_done_or({TORCHCLIP_E_BUSY, TORCHCLIP_E_CLOSED}, [&] { queue.post([&](bool) { ++told; }); });
          if (!is_posted) --posted;
        }
      });
    }
    queue.grow(4);
    queue.waiting();
    std::thread stopper([&] { queue.stop(); });
    for (auto& thread : threads) thread.join();
    stopper.join();
    queue.stop();
    CHECK(posted == told);
  }
}

TEST_CASE("index: added to, searched, read and closed at once") {
  for (const DType type : {DType::f32, DType::bf16, DType::s8}) {
    SUBCASE(name_of(type).c_str()) { stress_index(type); }
  }
}

TEST_CASE("index: a mapped file is shortened while it is searched, read and appended to") {
  constexpr std::int64_t kRows = 2000;
  const auto bytes = npy_file(rows_from(0, kRows), kDim);
  const auto end = end_of_case();
  while (Clock::now() < end) {
    const TemporaryFile file;
    file.write(bytes);
    const auto index = Index::open_npy(file.path());
    const auto few = rows_from(kRows, 3);
    std::vector<std::thread> threads;
    const auto start = [&](auto&& work) {
      threads.emplace_back([work] {
        for (int i = 0; i < 20; ++i) check_done_or({TORCHCLIP_E_INDEX_CORRUPT}, work);
      });
    };
    start([&] {
      std::vector<std::int32_t> indices(3);
      std::vector<float> scores(3), query(kDim, 1.0f);
      index->search({query.data(), 1, 3, {}}, {indices.data(), scores.data()});
    });
    start([&] {
      std::vector<float> out(static_cast<std::size_t>(kRows * kDim));
      index->read(0, kRows, out.data());
      check_row(out.data() + (kRows - 1) * kDim, kRows - 1, 0);
    });
    start([&] { index->add(few.data(), 3); });
    CHECK(truncate(file.path().c_str(), 100000) == 0);
    for (auto& thread : threads) thread.join();
  }
}
