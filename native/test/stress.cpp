// What must hold when everything happens at once; meant for ThreadSanitizer (scripts/sanitize), and quick without it.
// Nothing here includes libtorch or Node, so that all code that runs is instrumented.
//   stress SECONDS    for each part
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/job_queue.h"
#include "check.h"
#include "files.h"
#include "linalg/thread_pool.h"
#include "search/index.h"

using namespace torchclip::core;

namespace {

using Clock = std::chrono::steady_clock;

Clock::time_point after(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// Runs each piece of work again and again on a thread of its own, until the time is over.
void together(double seconds, const std::vector<std::function<void(unsigned round)>>& work) {
  const auto end = after(seconds);
  std::vector<std::thread> threads;
  for (const auto& one : work) {
    threads.emplace_back([&] {
      for (unsigned round = 0; Clock::now() < end; ++round) one(round);
    });
  }
  for (auto& thread : threads) thread.join();
}

// Whether `work` ends well or with the one error that is allowed.
template <typename Work>
bool is_done_or(int status, Work&& work) {
  const int found = torchclip::test::status_of<Error>(work);
  return found == TORCHCLIP_OK || found == status;
}

void stress_team(double seconds) {
  ThreadPool pool(4);
  std::vector<std::int64_t> seen(1000);
  const auto end = after(seconds);
  for (unsigned round = 0; Clock::now() < end; ++round) {
    const std::int64_t count = round % 7 == 0 ? 1 : round % 1000;
    std::fill(seen.begin(), seen.end(), 0);
    pool.parallel_for(count, [&](std::int64_t i) { ++seen[static_cast<std::size_t>(i)]; });
    CHECK(std::count(seen.begin(), seen.end(), 1) == count);
    bool thrown = false;
    try {
      pool.parallel_for(count, [&](std::int64_t i) {
        if (i % 100 == 50) throw Error(TORCHCLIP_E_INTERNAL, "task");
      });
    } catch (const Error&) {
      thrown = true;
    }
    CHECK(thrown == (count > 50));
  }
}

// Jobs from many threads, threads that are added, and a stop in the middle: each job is told exactly once.
void stress_pool(double seconds) {
  const auto end = after(seconds);
  while (Clock::now() < end) {
    std::atomic<int> posted{0}, told{0};
    JobQueue pool(2, 64);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 200; ++i) {
          ++posted;
          const int status = torchclip::test::status_of<Error>([&] { pool.post([&](bool) { ++told; }); });
          if (status != TORCHCLIP_OK) --posted;
          CHECK(status == TORCHCLIP_OK || status == TORCHCLIP_E_BUSY || status == TORCHCLIP_E_CLOSED);
        }
      });
    }
    pool.grow(4);
    pool.waiting();
    std::thread stopper([&] { pool.stop(); });
    for (auto& thread : threads) thread.join();
    stopper.join();
    pool.stop();
    CHECK(posted == told);
  }
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

bool is_row(const float* values, std::int64_t row, float tolerance) {
  const float expected = static_cast<float>(row % 100 + 1);
  return std::all_of(values, values + kDim, [&](float v) { return std::abs(v - expected) <= tolerance; });
}

class SharedIndex {
 public:
  explicit SharedIndex(DType type) : type_(type), index_(std::make_shared<Index>(type, kDim)) {}

  void add(unsigned round) {
    const auto index = get();
    const std::int64_t count = 1 + round * 37 % 800;
    const std::int64_t first = index->rows();
    const auto rows = rows_from(first, count);
    CHECK(is_done_or(TORCHCLIP_E_CLOSED, [&] {
      if (round % 5 != 0) return;
      index->stage(rows.data(), count, 1000);
      index->discard();
    }));
    CHECK(is_done_or(TORCHCLIP_E_CLOSED, [&] { index->add(rows.data(), count); }));
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
    CHECK(is_done_or(TORCHCLIP_E_CLOSED, [&] {
      index->search({queries.data(), count, k, filter}, {indices.data(), scores.data()});
      CHECK(indices[0] >= 0 && filter.passes(indices[0]) && scores[0] >= scores[hits - 1]);
      CHECK(hits == static_cast<std::size_t>(k) || indices[hits] == -1);
    }));
  }

  void vector(unsigned round) {
    const auto index = get();
    const auto rows = index->rows();
    if (rows == 0) return;
    std::vector<float> out(kDim);
    const std::int64_t row = round * 7919 % rows;
    CHECK(is_done_or(TORCHCLIP_E_CLOSED, [&] {
      index->read(row, 1, out.data());
      CHECK(is_row(out.data(), row, type_ == DType::f32 ? 0 : 1));
    }));
    index->bytes();
  }

  // As `save` reads: in parts, as many rows as there are when it begins.
  void save(unsigned) {
    const auto index = get();
    const std::int64_t rows = index->rows(), part = 1000;
    std::vector<float> out(static_cast<std::size_t>(part * kDim));
    for (std::int64_t start = 0; start < rows; start += part) {
      const std::int64_t count = std::min(part, rows - start);
      const bool open =
          torchclip::test::status_of<Error>([&] { index->read(start, count, out.data()); }) == TORCHCLIP_OK;
      for (std::int64_t r = 0; open && r < count; ++r) {
        CHECK(is_row(out.data() + r * kDim, start + r, type_ == DType::f32 ? 0 : 1));
      }
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

  const DType type_;
  std::mutex mutex_;
  std::shared_ptr<Index> index_;
};

void stress_index(double seconds, DType type) {
  SharedIndex shared(type);
  const auto call = [&](void (SharedIndex::*method)(unsigned)) {
    return [&shared, method](unsigned round) { (shared.*method)(round); };
  };
  together(seconds,
           {call(&SharedIndex::add), call(&SharedIndex::search), call(&SharedIndex::search), call(&SharedIndex::vector),
            call(&SharedIndex::vector), call(&SharedIndex::save), call(&SharedIndex::close)});
}

// A mapped file that is shortened while it is searched, read and appended to.
void stress_mapped(double seconds) {
  constexpr std::int64_t kRows = 2000;
  const auto bytes = torchclip::test::npy_file(rows_from(0, kRows), kDim);
  const auto end = after(seconds);
  while (Clock::now() < end) {
    const torchclip::test::TemporaryFile file;
    file.write(bytes);
    const auto index = Index::open_npy(file.path());
    const auto few = rows_from(kRows, 3);
    std::vector<std::thread> threads;
    const auto start = [&](auto&& work) {
      threads.emplace_back([work] {
        for (int i = 0; i < 20; ++i) CHECK(is_done_or(TORCHCLIP_E_INDEX_CORRUPT, work));
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
      CHECK(is_row(out.data() + (kRows - 1) * kDim, kRows - 1, 0));
    });
    start([&] { index->add(few.data(), 3); });
    CHECK(truncate(file.path().c_str(), 100000) == 0);
    for (auto& thread : threads) thread.join();
  }
}

}  // namespace

// A further part, such as an engine over a model that needs no libtorch, is a function here and a line in `main`.
int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 2;
  stress_team(seconds);
  stress_pool(seconds);
  for (const DType type : {DType::f32, DType::bf16, DType::s8}) stress_index(seconds, type);
  stress_mapped(seconds);
  return torchclip::test::failures() > 0;
}
