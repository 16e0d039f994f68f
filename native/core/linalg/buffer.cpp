#include "linalg/buffer.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace torchclip::core {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

Buffer::Buffer(std::size_t bytes) : bytes_(bytes) {
  void* data = nullptr;
  const bool huge = bytes >= kHugePage;
  const std::size_t alignment = huge ? kHugePage : kAlignment;
  if (posix_memalign(&data, alignment, std::max(bytes, kAlignment)) != 0) throw std::bad_alloc();
#if defined(__linux__)
  if (huge) madvise(data, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  data_ = {data, std::free};
}

}  // namespace torchclip::core
