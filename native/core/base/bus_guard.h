// Mapped files whose missing pages must not end the process. A file that is shortened while it is mapped raises SIGBUS
// in whoever reads a page behind its new end. The guard's handler puts zero pages in the place of the rest of that
// region, remembers the fault and returns, so that the read goes on; its caller then asks `faulted` and reports an
// error. A SIGBUS anywhere else goes to the handler that was there before. The handler never jumps, never allocates and
// takes no lock.
#pragma once

#include <cstddef>

namespace torchclip::core {

class BusGuard {
 public:
  static constexpr int kRegions = 1024;  // that can be guarded at the same time

  // Guards [begin, begin + bytes), which starts at a page; throws Error(E_BUSY) where kRegions are guarded already.
  // Whoever maps the region unmaps it, after the guard is gone.
  BusGuard(const void* begin, std::size_t bytes);
  ~BusGuard();
  BusGuard(const BusGuard&) = delete;
  BusGuard& operator=(const BusGuard&) = delete;

  // Whether a page of the region was missing when it was read: what was read since then may be zeros.
  bool faulted() const noexcept;

  // SIGBUS must not be blocked in a thread that reads a guarded region: the kernel ends the process then. Cheap after a
  // thread's first call.
  static void allow_in_this_thread() noexcept;

 private:
  int slot_ = -1;
};

}  // namespace torchclip::core
