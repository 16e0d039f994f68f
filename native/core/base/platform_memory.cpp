#include "base/platform_memory.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#if defined(_WIN32)
#include <malloc.h>
#else
#include <unistd.h>
#endif
#if defined(__linux__)
#include <malloc.h>
#include <sys/mman.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace torchclip::core {

std::shared_ptr<void> allocate_block(std::size_t bytes) {
#if defined(_WIN32)
  void* data = _aligned_malloc(std::max(bytes, kAlignment), kAlignment);
  if (!data) throw std::bad_alloc();
  return {data, _aligned_free};
#else
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  void* data = nullptr;
  const bool huge = bytes >= kHugePage;
  if (posix_memalign(&data, huge ? kHugePage : kAlignment, std::max(bytes, kAlignment)) != 0) throw std::bad_alloc();
#if defined(__linux__)
  if (huge) madvise(data, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return {data, std::free};
#endif
}

std::int64_t second_cache_bytes() {
  constexpr std::int64_t kCommon = 512 << 10;
#if defined(_SC_LEVEL2_CACHE_SIZE)
  const std::int64_t bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (bytes > 0) return bytes;
#elif defined(__APPLE__)
  std::int64_t bytes = 0;
  std::size_t size = sizeof bytes;
  if (sysctlbyname("hw.l2cachesize", &bytes, &size, nullptr, 0) == 0 && bytes > 0) return bytes;
#endif
  return kCommon;
}

void release_free_memory() noexcept {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace torchclip::core
