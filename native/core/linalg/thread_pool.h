// Threads that compute one job together. The caller and its helpers share the tasks of `parallel_for` by a counter, so
// that a core that is taken away for a moment does not delay the others. Between two calls helpers spin for a few
// microseconds and then sleep, and so does a caller whose helpers do not get their cores back.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace torchclip::core {

// The number of threads that a setting stands for; 0: one per core.
int thread_count(std::int32_t wanted);

class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // Includes the caller.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const noexcept { return static_cast<int>(helpers_.size()) + 1; }

  // Calls work(i), or work(i, thread) with the number of the thread in [0, size()), for each i in [0, count) in no
  // fixed order, and returns when all calls have finished. Only one thread at a time may call it. If `work` throws, the
  // other tasks still run, and the first exception is then rethrown here.
  template <typename Work>
  void parallel_for(std::int64_t count, Work&& work) {
    run(count, &work, [](void* w, std::int64_t i, int thread) {
      auto& call = *static_cast<std::remove_reference_t<Work>*>(w);
      if constexpr (std::is_invocable_v<Work&, std::int64_t, int>) {
        call(i, thread);
      } else {
        call(i);
      }
    });
  }

 private:
  using Call = void (*)(void*, std::int64_t, int);
  void run(std::int64_t count, void* work, Call call);
  void take_tasks(std::int64_t count, void* work, Call call, int thread) noexcept;
  void help(int thread);
  // Returns when no helper is in the round any more.
  void wait_for_helpers();
  void leave_round();

  // The round, whether it can still be joined, and the number of helpers in it. A helper that wakes late finds the
  // round closed, and the caller does not wait for it.
  static constexpr std::uint64_t kOpen = 1u << 31, kJoined = kOpen - 1, kRound = std::uint64_t{1} << 32;
  std::atomic<std::uint64_t> state_{0};
  std::atomic<std::uint32_t> wake_{0};
  std::atomic<std::uint32_t> left_{0};  // Counts helpers that left a closed round; the caller sleeps on it.
  std::atomic<bool> stopping_{false};
  std::atomic<std::int64_t> next_{0};
  std::int64_t count_ = 0;
  void* work_ = nullptr;
  Call call_ = nullptr;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;  // The first exception of this round.
  std::vector<std::thread> helpers_;
};

}  // namespace torchclip::core
