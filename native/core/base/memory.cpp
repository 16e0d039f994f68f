#include "memory.h"

#if defined(__linux__)
#include <malloc.h>
#endif

namespace torchclip::core {

void release_free_memory() noexcept {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace torchclip::core
