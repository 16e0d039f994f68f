#include "base/worker_pool.h"

#if defined(__linux__)
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "base/error.h"

namespace torchclip::core {

WorkerPool::WorkerPool(unsigned threads, std::size_t limit) : limit_(limit) { grow(threads); }

void WorkerPool::grow(unsigned threads) {
  std::lock_guard lock(mutex_);
  while (!stopping_ && threads_.size() < threads) {
    threads_.emplace_back([this] { loop(); });
    ++looping_;
  }
}

WorkerPool::~WorkerPool() { stop(); }

void WorkerPool::post(std::function<void(bool)> job) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) throw Error(TORCHCLIP_E_CLOSED, "the engine is closed");
    if (jobs_.size() >= limit_) {
      throw Error(TORCHCLIP_E_BUSY, "the queue is full (" + std::to_string(limit_) + " waiting jobs)");
    }
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

std::size_t WorkerPool::waiting() {
  std::lock_guard lock(mutex_);
  return jobs_.size();
}

void WorkerPool::stop() noexcept {
  cancel_waiting();
  join();
}

bool WorkerPool::stop_within(std::chrono::milliseconds limit) noexcept {
  cancel_waiting();
  {
    std::unique_lock lock(mutex_);
    if (!ended_.wait_for(lock, limit, [this] { return looping_ == 0; })) return false;
  }
  join();
  return true;
}

void WorkerPool::cancel_waiting() noexcept {
  std::deque<std::function<void(bool)>> waiting;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    waiting.swap(jobs_);
  }
  wake_.notify_all();
  for (auto& job : waiting) job(true);
}

void WorkerPool::join() noexcept {
  // A job that still runs may have begun to add threads: those that it did add are joined as well.
  for (std::size_t i = 0;; ++i) {
    std::thread* thread = nullptr;
    {
      std::lock_guard lock(mutex_);
      if (i >= threads_.size()) break;
      thread = &threads_[i];
    }
    if (thread->joinable()) thread->join();
  }
}

// Compute yields to the threads that feed it: on a machine whose cores are all busy, the caller's event loop is
// woken at once instead of after a time slice. Threads that OpenMP starts from here inherit it.
static void lower_priority() {
#if defined(__linux__)
  constexpr int kNice = 15;
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kNice);
#endif
}

void WorkerPool::loop() {
  lower_priority();
  for (;;) {
    std::function<void(bool)> job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (jobs_.empty()) {
        --looping_;
        ended_.notify_all();
        return;
      }
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job(false);
  }
}

}  // namespace torchclip::core
