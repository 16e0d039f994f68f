// What differs between operating systems and CPUs in threads.
#pragma once

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace torchclip::core {

// Lowers the priority of the calling thread, and of those that it starts later. Does nothing where the system has no
// priority of a single thread.
void lower_thread_priority();

// Waits for a moment in a loop that waits for another core.
inline void spin_pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // It takes about as long as the pause of x86; yield takes no time on most CPUs.
#endif
}

}  // namespace torchclip::core
