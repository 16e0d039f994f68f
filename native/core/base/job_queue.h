// Long-lived threads with one bounded queue. With one thread it is an engine's device thread (OpenMP binds its
// workers to the thread that calls, so every forward pass of a device runs on one thread); with several it is the
// pool for work that is neither the device's nor libuv's: preprocessing, top-k, writing artifacts.
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
  // Waiting jobs beyond `limit` are refused with E_BUSY: the queue never grows without bound and never blocks.
  explicit JobQueue(unsigned threads, std::size_t limit = 4096);
  ~JobQueue();  // = stop()

  // `job` runs on one of the threads, in order of posting. Where the pool is stopped first, it is called with
  // `cancelled` true on the stopping thread instead, so that whoever waits is always told. Jobs must not throw.
  void post(std::function<void(bool cancelled)> job);

  // More threads, until there are that many. Not from two threads at once.
  void grow(unsigned threads);

  // Jobs that wait, not counting those that run.
  std::size_t waiting();

  // Lets running jobs end, cancels the waiting ones, joins. Safe to call twice, not from a job.
  void stop() noexcept;
  // The same, but waits at most `limit` for the running jobs. Returns false where one of them still runs: its thread
  // goes on, so the pool and everything that the job uses must stay for ever.
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
  std::condition_variable ended_;    // a thread has left its loop
  std::size_t looping_ = 0;          // threads in their loop
  std::deque<std::thread> threads_;  // none moves when others are added
};

}  // namespace torchclip::core
