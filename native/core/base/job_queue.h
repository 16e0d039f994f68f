// Long-lived threads with one bounded queue. With one thread it is an engine's device thread (OpenMP binds its workers
// to the calling thread, so every forward pass of a device runs on one thread). With several threads it runs work that
// belongs neither to the device nor to libuv: preprocessing, top-k, and writing artifacts.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace torchclip::core {

class JobQueue {
 public:
  // More than `limit` waiting jobs are refused with E_BUSY: the queue is bounded and never blocks.
  explicit JobQueue(unsigned threads, std::size_t limit = 4096);
  ~JobQueue();  // = stop()

  // `job` runs on one of the threads, in posting order. If the queue is stopped first, the job is called with
  // `cancelled` true on the stopping thread instead, so that its caller is always notified. Jobs must not throw.
  void post(std::function<void(bool cancelled)> job);

  // Starts threads until there are `threads` of them.
  void grow(unsigned threads);

  // Returns the number of waiting jobs, without those that are running.
  std::size_t waiting();

  // Waits for the running jobs, cancels the waiting ones and joins the threads. It may be called twice, but not from a
  // job.
  void stop() noexcept;
  // As stop(), but waits at most `limit` for the running jobs. Returns false if one of them is still running; its
  // thread then continues, so the queue and everything that the job uses must never be destroyed.
  bool stop_within(std::chrono::milliseconds limit) noexcept;

 private:
  void loop();
  void cancel_waiting() noexcept;
  void join() noexcept;

  const std::size_t limit_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void(bool)>> jobs_;
  bool stopping_ = false;
  std::condition_variable ended_;    // Notified when a thread leaves its loop.
  std::size_t looping_ = 0;          // The number of threads in their loop.
  std::deque<std::thread> threads_;  // A deque, so that threads do not move when others are added.
};

}  // namespace torchclip::core
