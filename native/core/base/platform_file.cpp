#include "base/platform_file.h"

#if !defined(_WIN32)

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace torchclip::core {
namespace {

// Linux reads and writes at most 2 GiB - 4096 bytes at once.
std::size_t length_of(std::size_t bytes) { return std::min(bytes, std::size_t{1} << 30); }

}  // namespace

int open_for_reading(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  return open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

int create_for_writing(const std::string& path) {
  constexpr mode_t kMode = 0666;  // The process's umask applies.
  return open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kMode);
}

int close_descriptor(int descriptor) { return close(descriptor); }

bool state_of(int descriptor, FileState& state) {
  struct stat about {};
  if (fstat(descriptor, &about) != 0) return false;
#if defined(__APPLE__)
  const auto &modified = about.st_mtimespec, &changed = about.st_ctimespec;
#else
  const auto &modified = about.st_mtim, &changed = about.st_ctim;
#endif
  state.size = static_cast<std::uint64_t>(about.st_size);
  state.is_regular = S_ISREG(about.st_mode);
  state.identity = {static_cast<std::int64_t>(about.st_dev),     static_cast<std::int64_t>(about.st_ino),
                    static_cast<std::int64_t>(about.st_size),    static_cast<std::int64_t>(modified.tv_sec),
                    static_cast<std::int64_t>(modified.tv_nsec), static_cast<std::int64_t>(changed.tv_sec),
                    static_cast<std::int64_t>(changed.tv_nsec)};
  return true;
}

std::int64_t read_at(int descriptor, void* to, std::size_t bytes, std::uint64_t offset) {
  return pread(descriptor, to, length_of(bytes), static_cast<off_t>(offset));
}

std::int64_t write_at(int descriptor, const void* from, std::size_t bytes, std::uint64_t offset) {
  return pwrite(descriptor, from, length_of(bytes), static_cast<off_t>(offset));
}

const char* map_for_reading(int descriptor, std::size_t bytes) {
  void* mapped = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, descriptor, 0);
  return mapped == MAP_FAILED ? nullptr : static_cast<const char*>(mapped);
}

void unmap(const char* data, std::size_t bytes) noexcept { munmap(const_cast<char*>(data), bytes); }

}  // namespace torchclip::core

#endif
