// Guards mapped files, so that a missing page does not end the process. If a file is shortened while it is mapped, a
// thread that reads a page beyond its new end receives SIGBUS. The guard's handler maps zero pages over the rest of
// that region, records the fault and returns, so that the read continues. The reader then calls `faulted` and reports
// an error. A SIGBUS anywhere else is passed to the handler that was installed before. The handler never jumps, never
// allocates and takes no lock. On Windows it does nothing: the system refuses to shorten a mapped file.
#pragma once

#include <cstddef>

namespace torchclip::core {

class BusGuard {
 public:
  static constexpr int kRegions = 1024;  // The number of regions that can be guarded at the same time.

  // Guards [begin, begin + bytes), which must start at a page boundary. Throws Error(E_BUSY) if kRegions regions are
  // already guarded. The owner of the mapping unmaps it after the guard is destroyed.
  BusGuard(const void* begin, std::size_t bytes);
  ~BusGuard();
  BusGuard(const BusGuard&) = delete;
  BusGuard& operator=(const BusGuard&) = delete;

  // Returns whether a page of the region was missing when it was read. Values read since then may be zeros.
  bool faulted() const noexcept;

  // Unblocks SIGBUS in the calling thread. A thread that reads a guarded region must call this first, because the
  // kernel ends the process if the signal is blocked. Calls after a thread's first one are cheap.
  static void allow_in_this_thread() noexcept;

 private:
  int slot_ = -1;
};

}  // namespace torchclip::core
