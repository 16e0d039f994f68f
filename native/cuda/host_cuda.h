// A small emulation of a GPU on the host, so that kernel files compile as C++ and run: blocks one after another, the
// threads of a block as fibers that take turns at barriers and shuffles. It keeps CUDA's rules of meaning, not its
// speed; what it cannot show is a missing barrier between warps that happen to run in order.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "host_fibers.h"

#define __global__
#define __device__
#define __host__
#define __shared__ static  // blocks run one after another

namespace torchclip::cuda {

struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};

namespace host {

constexpr int kWarp = 32;
constexpr std::size_t kStack = 64 * 1024;

inline Index3 thread, block, size;  // what the running fiber sees as threadIdx, blockIdx, blockDim

// One block: its threads are fibers.
class Block {
 public:
  Block(int threads, const std::function<void()>& body) : body_(body), count_(static_cast<std::size_t>(threads)) {}

  void run() {
    current_block() = this;
    while (finished_ < count_) {
      for (at_ = 0; at_ < count_; ++at_) {
        if (done_[at_]) continue;
        thread.x = static_cast<unsigned>(at_);
        scheduler().switch_to(fiber(at_));
      }
    }
    current_block() = nullptr;
  }

  // Waits until all fibers of the block are here.
  void meet() { meet(whole_, count_); }

  template <typename Value>
  Value exchange(Value value, int with) {
    return gather(value)[at_ % kWarp ^ static_cast<std::size_t>(with)];
  }

  // What each lane of the calling fiber's warp gives.
  template <typename Value>
  std::array<Value, kWarp> gather(const Value& value) {
    static std::array<Value, kWarp> given[32];  // of each warp; blocks run one after another
    const std::size_t me = at_;
    auto& warp = warps_[me / kWarp];
    given[me / kWarp][me % kWarp] = value;
    meet(warp, kWarp);
    const auto all = given[me / kWarp];
    meet(warp, kWarp);
    return all;
  }

  static Block*& current_block() {
    static Block* current = nullptr;
    return current;
  }

 private:
  struct Group {
    std::size_t arrived = 0;
    std::uint64_t round = 0;
  };

  void meet(Group& group, std::size_t count) {
    const auto round = group.round;
    if (++group.arrived == count) {
      group.arrived = 0;
      ++group.round;
      return;
    }
    while (group.round == round) fiber(at_).switch_to(scheduler());
  }

  static Place& scheduler() {
    static Place place;
    return place;
  }

  // The fiber of a thread. All blocks use the same ones.
  static Place& fiber(std::size_t number) {
    static std::vector<Place> fibers;
    static std::vector<std::unique_ptr<char[]>> stacks;
    while (fibers.size() <= number) {
      stacks.emplace_back(new char[kStack]);
      fibers.emplace_back().begin_with(&Block::run_thread, stacks.back().get(), kStack);
    }
    return fibers[number];
  }

  // What a fiber does: its thread of each block.
  [[noreturn]] static void run_thread() {
    for (;;) {
      auto& running = *current_block();
      running.body_();
      running.done_[running.at_] = true;
      ++running.finished_;
      fiber(running.at_).switch_to(scheduler());
    }
  }

  static constexpr std::size_t kMostThreads = 1024;

  const std::function<void()>& body_;
  std::size_t count_;
  std::size_t finished_ = 0;
  std::array<bool, kMostThreads> done_{};
  Group whole_, warps_[kMostThreads / kWarp];
  std::size_t at_ = 0;  // the thread that runs
};

}  // namespace host

#define threadIdx (::torchclip::cuda::host::thread)
#define blockIdx (::torchclip::cuda::host::block)
#define blockDim (::torchclip::cuda::host::size)

inline void __syncthreads() { host::Block::current_block()->meet(); }

inline float __shfl_xor_sync(unsigned, float value, int with) {
  return host::Block::current_block()->exchange(value, with);
}

inline double __shfl_xor_sync(unsigned, double value, int with) {
  return host::Block::current_block()->exchange(value, with);
}

// A bit for each lane of the warp whose condition holds.
inline unsigned __ballot_sync(unsigned, bool condition) {
  const auto all = host::Block::current_block()->gather(condition);
  unsigned bits = 0;
  for (std::size_t lane = 0; lane < all.size(); ++lane) bits |= static_cast<unsigned>(all[lane]) << lane;
  return bits;
}

// The place of the lowest bit that is set, from 1 on.
inline int __ffs(int bits) { return __builtin_ffs(bits); }

// c plus the products of the four signed bytes of a and b.
inline int __dp4a(int a, int b, int c) {
  for (int shift = 0; shift < 32; shift += 8) {
    c += static_cast<std::int8_t>(a >> shift) * static_cast<std::int8_t>(b >> shift);
  }
  return c;
}

inline int atomicAdd(int* to, int value) {
  const int before = *to;
  *to += value;
  return before;
}

inline unsigned atomicMax(unsigned* to, unsigned value) {
  const unsigned before = *to;
  *to = std::max(before, value);
  return before;
}

namespace host {

using Work = std::function<void()>;

// Where launches are captured instead of run; null: they run at once.
inline std::vector<Work>* captured = nullptr;

// The work of a stream that has not run yet, in its order. It runs when something waits for it, so that what happens
// beside the stream happens before it: the order that shows where a wait is missing.
class Queue {
 public:
  void push(Work work) { waiting_.push_back(std::move(work)); }
  bool is_empty() const { return waiting_.empty(); }
  // The number of works that were given so far.
  std::uint64_t given() const { return done_ + waiting_.size(); }
  // Runs the first `number` works that were given.
  void run_until(std::uint64_t number) {
    while (done_ < number) {
      const Work work = std::move(waiting_.front());
      waiting_.pop_front();
      ++done_;
      work();
    }
  }
  void run() { run_until(given()); }

 private:
  std::deque<Work> waiting_;
  std::uint64_t done_ = 0;
};

// What a stream of CUDA does with work: it runs it later, or captures it. stream: a Queue; null: it runs at once.
inline void submit(Stream stream, Work work) {
  if (captured) {
    captured->push_back(std::move(work));
  } else if (stream) {
    static_cast<Queue*>(stream)->push(std::move(work));
  } else {
    work();
  }
}

template <Threads T, typename Body>
void run_grid(const Grid& grid, int threads, const Body& body) {
  size = {static_cast<unsigned>(threads), 1, 1};
  for (std::int64_t z = 0; z < grid.z; ++z) {
    for (std::int64_t y = 0; y < grid.y; ++y) {
      for (std::int64_t x = 0; x < grid.x; ++x) {
        block = {static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z)};
        if (T == Threads::together) {
          Block(threads, body).run();
          continue;
        }
        for (int i = 0; i < threads; ++i) {
          thread.x = static_cast<unsigned>(i);
          body();
        }
      }
    }
  }
}

}  // namespace host

template <Threads T, typename Kernel, typename... Arguments>
void launch(Kernel kernel, Grid grid, int threads, std::size_t, Stream stream, Arguments... arguments) {
  host::submit(stream, [=] { host::run_grid<T>(grid, threads, [&] { kernel(arguments...); }); });
}

}  // namespace torchclip::cuda
