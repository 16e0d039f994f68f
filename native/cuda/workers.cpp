#include "workers.h"

#include <algorithm>
#include <cstring>

namespace torchclip::cuda {
namespace {

constexpr std::size_t kCopyPart = 1 << 20;  // bytes that a thread copies at a time

}  // namespace

Workers::Workers(unsigned threads)
    : wanted_(threads > 0 ? threads : std::clamp(std::thread::hardware_concurrency(), 1u, kMost)) {}

void Workers::start() {
  while (threads_.size() + 1 < wanted_) threads_.emplace_back([this] { serve(); });
}

Workers::~Workers() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  started_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Workers::run(std::int64_t count, const std::function<void(std::int64_t)>& work) {
  if (count <= 1 || wanted_ <= 1) {
    for (std::int64_t i = 0; i < count; ++i) work(i);
    return;
  }
  start();
  {
    std::lock_guard lock(mutex_);
    work_ = &work;
    count_ = count;
    next_ = 0;
    busy_ = threads_.size();
    problem_ = nullptr;
    ++round_;
  }
  started_.notify_all();
  take();
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [this] { return busy_ == 0; });
  if (problem_) std::rethrow_exception(problem_);
}

void Workers::copy(void* to, const void* from, std::size_t bytes) {
  const auto parts = static_cast<std::int64_t>((bytes + kCopyPart - 1) / kCopyPart);
  run(parts, [&](std::int64_t part) {
    const std::size_t begin = static_cast<std::size_t>(part) * kCopyPart;
    std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin,
                std::min(kCopyPart, bytes - begin));
  });
}

void Workers::serve() {
  std::uint64_t seen = 0;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      started_.wait(lock, [&] { return stopping_ || round_ != seen; });
      if (stopping_) return;
      seen = round_;
    }
    take();
    std::lock_guard lock(mutex_);
    if (--busy_ == 0) ended_.notify_one();
  }
}

// Works until nothing is left of the round, or something failed.
void Workers::take() {
  try {
    for (std::int64_t i; (i = next_++) < count_;) (*work_)(i);
  } catch (...) {
    next_ = count_;
    std::lock_guard lock(mutex_);
    if (!problem_) problem_ = std::current_exception();
  }
}

}  // namespace torchclip::cuda
