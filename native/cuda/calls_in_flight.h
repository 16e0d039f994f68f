// Which call the pass in each slot of a device belongs to. The last passes of a call may still be computed while the
// next call begins in the slot that is free first.
#pragma once

#include <cstdint>
#include <exception>
#include <map>
#include <utility>

#include "device.h"

namespace torchclip::cuda {

class CallsInFlight {
 public:
  explicit CallsInFlight(Device& device) : device_(device) {}

  // The number of a new call, from 1 on.
  std::uint64_t begin() { return ++last_call_; }

  // The slot of the next pass of `call`, with the results of its last pass written: the first slot if no pass is in
  // progress, so that calls that follow each other replay the same captured passes; otherwise that of the older pass.
  // Throws what a pass of `call` met. What those of other calls met is kept for their finish().
  int free_slot(std::uint64_t call) {
    if (!in_progress()) next_ = 0;
    note_failure_of(next_);
    if (const auto at = failures_.find(call); at != failures_.end()) std::rethrow_exception(at->second);
    return next_;
  }
  // A pass of `call` was started in the slot.
  void started(int slot, std::uint64_t call) {
    call_of_[slot] = call;
    next_ = (slot + 1) % Device::kSlots;
  }

  // Waits for the passes of a call. Throws what one of them met.
  void finish(std::uint64_t call) {
    for (int s = 0; s < Device::kSlots; ++s) {
      const int slot = (next_ + s) % Device::kSlots;
      if (call_of_[slot] == call) note_failure_of(slot);
    }
    if (auto failure = failures_.extract(call)) std::rethrow_exception(failure.mapped());
  }

  // A call that failed: nobody will finish it.
  void forget(std::uint64_t call) { failures_.erase(call); }

  // Waits for all passes, those that were begun but not started too. What they met is kept for finish().
  void finish_all() {
    for (int s = 0; s < Device::kSlots; ++s) note_failure_of((next_ + s) % Device::kSlots);
  }

 private:
  bool in_progress() const {
    for (const auto call : call_of_) {
      if (call) return true;
    }
    return false;
  }

  void note_failure_of(int slot) {
    const auto call = std::exchange(call_of_[slot], 0);
    try {
      device_.finish(slot);
    } catch (...) {
      if (call) failures_.emplace(call, std::current_exception());
    }
  }

  Device& device_;
  std::uint64_t last_call_ = 0;
  std::uint64_t call_of_[Device::kSlots] = {};  // 0: none
  int next_ = 0;
  std::map<std::uint64_t, std::exception_ptr> failures_;  // of calls that nobody has finished so far
};

}  // namespace torchclip::cuda
