// The memory of the process.
#pragma once

namespace torchclip::core {

// Returns the pages that the allocator holds free to the operating system. glibc keeps them otherwise, in an arena for
// each thread that ever allocated, so that a process which loads and closes models or decodes many images keeps
// hundreds of megabytes that nothing uses. Takes milliseconds; call it after a large release. Does nothing where the
// allocator is not glibc's.
void release_free_memory() noexcept;

}  // namespace torchclip::core
