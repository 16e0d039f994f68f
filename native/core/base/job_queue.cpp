#include "base/job_queue.h"

#include "base/error.h"
#include "base/platform_thread.h"

namespace torchclip::core {

JobQueue::JobQueue(unsigned threads, std::size_t limit) : limit_(limit) { grow(threads); }

void JobQueue::grow(unsigned threads) {
  std::lock_guard lock(mutex_);
  while (!stopping_ && threads_.size() < threads) {
    threads_.emplace_back([this] { loop(); });
    ++looping_;
  }
}

JobQueue::~JobQueue() { stop(); }

void JobQueue::post(std::function<void(bool)> job) {
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

std::size_t JobQueue::waiting() {
  std::lock_guard lock(mutex_);
  return jobs_.size();
}

void JobQueue::stop() noexcept {
  cancel_waiting();
  join();
}

bool JobQueue::stop_within(std::chrono::milliseconds limit) noexcept {
  cancel_waiting();
  {
    std::unique_lock lock(mutex_);
    if (!ended_.wait_for(lock, limit, [this] { return looping_ == 0; })) return false;
  }
  join();
  return true;
}

void JobQueue::cancel_waiting() noexcept {
  std::deque<std::function<void(bool)>> waiting;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    waiting.swap(jobs_);
  }
  wake_.notify_all();
  for (auto& job : waiting) job(true);
}

void JobQueue::join() noexcept {
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

void JobQueue::loop() {
  // Compute yields to the threads that feed it: on a machine whose cores are all busy, the caller's event loop is woken
  // at once instead of after a time slice. Threads that OpenMP starts from here inherit it.
  lower_thread_priority();
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
