#include "linalg/thread_pool.h"

#include <algorithm>
#include <utility>

#include "base/platform_bus_guard.h"
#include "base/platform_thread.h"

namespace torchclip::core {
namespace {

constexpr int kSpins = 4000;  // some 20 to 50 microseconds
constexpr int kYields = 200;  // some 100 microseconds where nothing else wants the core

}  // namespace

int thread_count(std::int32_t wanted) {
  return wanted > 0 ? wanted : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i) helpers_.emplace_back([this, i] { help(i); });
}

ThreadPool::~ThreadPool() {
  stopping_ = true;
  wake_.fetch_add(1);
  wake_.notify_all();
  for (auto& helper : helpers_) helper.join();
}

void ThreadPool::run(std::int64_t count, void* work, Call call) {
  if (helpers_.empty() || count < 2) {
    for (std::int64_t i = 0; i < count; ++i) call(work, i, 0);
    return;
  }
  count_ = count;
  work_ = work;
  call_ = call;
  next_.store(0, std::memory_order_relaxed);
  state_.store((state_.load(std::memory_order_relaxed) & ~(kOpen | kJoined)) + kRound + kOpen,
               std::memory_order_release);
  wake_.fetch_add(1, std::memory_order_release);
  wake_.notify_all();
  take_tasks(count, work, call, 0);
  state_.fetch_and(~kOpen, std::memory_order_acq_rel);
  wait_for_helpers();
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadPool::wait_for_helpers() {
  const auto helpers_are_in = [this] { return (state_.load() & kJoined) != 0; };
  for (int i = 0; i < kSpins && helpers_are_in(); ++i) spin_pause();
  for (int i = 0; i < kYields && helpers_are_in(); ++i) std::this_thread::yield();
  // A helper's core was taken away. If this thread sleeps, its own core is free for that helper.
  for (;;) {
    const auto seen = left_.load();
    if (!helpers_are_in()) return;
    left_.wait(seen);
  }
}

void ThreadPool::leave_round() {
  const auto before = state_.fetch_sub(1);
  if ((before & kOpen) != 0) return;  // the caller is not waiting yet, and will see that this helper has left
  left_.fetch_add(1);
  left_.notify_one();
}

void ThreadPool::take_tasks(std::int64_t count, void* work, Call call, int thread) noexcept {
  for (std::int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count;) {
    try {
      call(work, i, thread);
    } catch (...) {
      std::lock_guard lock(failure_mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }
}

void ThreadPool::help(int thread) {
  BusGuard::allow_in_this_thread();  // the work may read mapped files
  std::uint32_t seen = 0;
  for (;;) {
    for (int spins = 0; wake_.load(std::memory_order_acquire) == seen;) {
      if (++spins < kSpins) {
        spin_pause();
      } else {
        wake_.wait(seen, std::memory_order_acquire);
      }
    }
    seen = wake_.load(std::memory_order_acquire);
    if (stopping_.load()) return;
    auto state = state_.load(std::memory_order_acquire);
    bool joined = false;
    while ((state & kOpen) && !joined) {
      joined = state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel);
    }
    if (!joined) continue;
    take_tasks(count_, work_, call_, thread);
    leave_round();
  }
}

}  // namespace torchclip::core
