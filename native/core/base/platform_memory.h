// What differs between operating systems in memory: huge pages and the sizes of caches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace torchclip::core {

// The distance at which memory for the kernels is aligned: a line of the cache, and the widest register.
constexpr std::size_t kAlignment = 64;

// A block of at least `bytes` bytes, aligned to kAlignment; a large one lies in huge pages if the system supports them.
// Throws std::bad_alloc.
std::shared_ptr<void> allocate_block(std::size_t bytes);

// The size of a core's second cache in bytes, or a common size if the system does not tell it.
std::int64_t second_cache_bytes();

// Returns the pages that the allocator holds free to the operating system. glibc keeps them otherwise, in an arena for
// each thread that ever allocated, so that a process which loads and closes models or decodes many images keeps
// hundreds of megabytes that nothing uses. Takes milliseconds; call it after a large release. Does nothing where the
// allocator is not glibc's.
void release_free_memory() noexcept;

}  // namespace torchclip::core
