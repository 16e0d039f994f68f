#include "base/platform_bus_guard.h"

#if !defined(_WIN32)

#include <sys/mman.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <string>

#include "base/error.h"

namespace torchclip::core {
namespace {

// A region in the table. Its version is odd while it is being written, so that the handler, which takes no lock, never
// believes a begin and an end of two different regions.
struct Region {
  std::atomic<std::uint32_t> version{0};
  std::atomic<std::uintptr_t> begin{0}, end{0};  // both 0: free
  std::atomic<bool> faulted{false};
};

static_assert(std::atomic<std::uintptr_t>::is_always_lock_free && std::atomic<bool>::is_always_lock_free,
              "a signal handler may only use atomics that take no lock");

// All of this is constant-initialised and never destroyed: the handler may run at any time until the process ends.
Region regions[BusGuard::kRegions];
std::atomic<int> used{0};  // slots from here on were never used
std::mutex table_mutex;    // of writers
struct sigaction previous {};
std::atomic<bool> previous_gone{false};  // it had SA_RESETHAND and was called
std::uintptr_t page_bytes = 0;

void write_region(Region& region, std::uintptr_t begin, std::uintptr_t end) {
  region.version.fetch_add(1, std::memory_order_acq_rel);
  region.begin.store(begin, std::memory_order_release);
  region.end.store(end, std::memory_order_release);
  region.faulted.store(false, std::memory_order_release);
  region.version.fetch_add(1, std::memory_order_acq_rel);
}

// Puts zero pages over [begin, end), of which other threads may read meanwhile: the kernel replaces the pages at once.
// On Linux by the system call, as mmap() of the C library is not among the functions that a signal handler may call
// (signal-safety(7)).
bool map_zeros(std::uintptr_t begin, std::uintptr_t end) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
#if defined(__linux__) && defined(SYS_mmap)
  return syscall(SYS_mmap, begin, end - begin, long{PROT_READ}, long{kFlags}, -1L, 0L) != -1;
#else
  return mmap(reinterpret_cast<void*>(begin), end - begin, PROT_READ, kFlags, -1, 0) != MAP_FAILED;
#endif
}

// Called in the handler: zero pages from the missing one to the region's end. Those behind it are missing as well.
bool cover(std::uintptr_t address) {
  const int count = used.load(std::memory_order_acquire);
  for (int i = 0; i < count; ++i) {
    Region& region = regions[i];
    const auto version = region.version.load(std::memory_order_acquire);
    const auto begin = region.begin.load(std::memory_order_acquire), end = region.end.load(std::memory_order_acquire);
    if (version % 2 != 0 || version != region.version.load(std::memory_order_acquire)) continue;
    if (address < begin || address >= end) continue;
    if (!map_zeros(address / page_bytes * page_bytes, end)) return false;
    region.faulted.store(true, std::memory_order_release);
    return true;
  }
  return false;
}

void end_by_default(int signal, const siginfo_t* info) {
  struct sigaction plain {};
  plain.sa_handler = SIG_DFL;
  sigemptyset(&plain.sa_mask);
  sigaction(signal, &plain, nullptr);
  // A fault happens again when the handler returns, at the same place, which is what a core file should show; a signal
  // that a process sent does not.
  if (info->si_code <= 0) raise(signal);
}

void forward(int signal, siginfo_t* info, void* context) {
  const bool sent = info->si_code <= 0;
  const bool gone = (static_cast<unsigned>(previous.sa_flags) & SA_RESETHAND) != 0 && previous_gone.exchange(true);
  if (!gone && (previous.sa_flags & SA_SIGINFO) != 0) return previous.sa_sigaction(signal, info, context);
  if (!gone && previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) return previous.sa_handler(signal);
  // An ignored fault ends the process all the same; only a signal that was sent can be ignored.
  if (!gone && previous.sa_handler == SIG_IGN && sent) return;
  end_by_default(signal, info);
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
  const int saved = errno;
  if (info->si_code <= 0 || !cover(reinterpret_cast<std::uintptr_t>(info->si_addr))) forward(signal, info, context);
  errno = saved;
}

void install() {
  page_bytes = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  sigaction(SIGBUS, nullptr, &previous);  // before ours is there, which may need it at once
  struct sigaction ours {};
  ours.sa_sigaction = on_bus_error;
  ours.sa_mask = previous.sa_mask;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | (previous.sa_flags & (SA_NODEFER | SA_RESTART));
  sigaction(SIGBUS, &ours, nullptr);
}

}  // namespace

BusGuard::BusGuard(const void* begin, std::size_t bytes) {
  if (bytes == 0) return;
  std::lock_guard lock(table_mutex);
  static const bool installed = (install(), true);
  (void)installed;
  int free = 0;
  while (free < kRegions && regions[free].end.load(std::memory_order_relaxed) != 0) ++free;
  if (free == kRegions) {
    throw Error(TORCHCLIP_E_BUSY, std::to_string(kRegions) + " files are mapped already: close some of the indexes");
  }
  slot_ = free;
  const auto from = reinterpret_cast<std::uintptr_t>(begin);
  write_region(regions[slot_], from, from + bytes);
  if (slot_ >= used.load(std::memory_order_relaxed)) used.store(slot_ + 1, std::memory_order_release);
}

BusGuard::~BusGuard() {
  if (slot_ < 0) return;
  std::lock_guard lock(table_mutex);
  write_region(regions[slot_], 0, 0);
}

bool BusGuard::faulted() const noexcept { return slot_ >= 0 && regions[slot_].faulted.load(std::memory_order_acquire); }

void BusGuard::allow_in_this_thread() noexcept {
  static thread_local bool allowed = false;
  if (allowed) return;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGBUS);
  allowed = pthread_sigmask(SIG_UNBLOCK, &set, nullptr) == 0;
}

}  // namespace torchclip::core

#else

// Windows refuses to shorten a file that is mapped, so there is nothing to guard.
namespace torchclip::core {

BusGuard::BusGuard(const void*, std::size_t) {}
BusGuard::~BusGuard() = default;
bool BusGuard::faulted() const noexcept { return slot_ >= 0; }
void BusGuard::allow_in_this_thread() noexcept {}

}  // namespace torchclip::core

#endif
