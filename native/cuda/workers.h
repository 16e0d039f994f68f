// A few threads for work of the host beside the GPU's: copies into page-locked memory, plans of resizes.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace torchclip::cuda {

class Workers {
 public:
  // Enough for the bandwidth of a server's memory, and for the part of JPEG decoding that CPUs do.
  static constexpr unsigned kMost = 16;

  // `threads` of 0: one for each core, at most kMost. The calling thread is one of them; the others start with the
  // first work for several threads.
  explicit Workers(unsigned threads = 0);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Calls work(0) ... work(count - 1), on the calling thread and beside it, and waits for all. The first exception of
  // `work` is thrown here. Not to be called by two threads at once.
  void run(std::int64_t count, const std::function<void(std::int64_t)>& work);

  // As memcpy; large copies are made by several threads.
  void copy(void* to, const void* from, std::size_t bytes);

 private:
  void start();
  void serve();
  void take();

  unsigned wanted_;  // threads, with the calling one
  std::mutex mutex_;
  std::condition_variable started_, ended_;
  const std::function<void(std::int64_t)>* work_ = nullptr;
  std::int64_t count_ = 0;
  std::atomic<std::int64_t> next_{0};
  std::uint64_t round_ = 0;
  std::size_t busy_ = 0;  // Threads that have not finished the round.
  bool stopping_ = false;
  std::exception_ptr problem_;
  std::vector<std::thread> threads_;
};

}  // namespace torchclip::cuda
