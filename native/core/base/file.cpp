#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace torchclip::core {
namespace {

// Linux reads at most 2 GiB - 4096 bytes at once.
constexpr std::size_t kMostAtOnce = std::size_t{1} << 30;

[[noreturn]] void fail_open(const std::string& path, int reason, const FileErrors& errors) {
  if (reason == ENOENT || reason == ENOTDIR) throw Error(errors.missing, "no such file: " + path);
  throw Error(errors.unopenable, path + " cannot be opened: " + std::strerror(reason));
}

std::string identity_of(const struct stat& file) {
#if defined(__APPLE__)
  const auto &modified = file.st_mtimespec, &changed = file.st_ctimespec;
#else
  const auto &modified = file.st_mtim, &changed = file.st_ctim;
#endif
  std::string identity;
  for (const std::int64_t part :
       {static_cast<std::int64_t>(file.st_dev), static_cast<std::int64_t>(file.st_ino),
        static_cast<std::int64_t>(file.st_size), static_cast<std::int64_t>(modified.tv_sec),
        static_cast<std::int64_t>(modified.tv_nsec), static_cast<std::int64_t>(changed.tv_sec),
        static_cast<std::int64_t>(changed.tv_nsec)}) {
    identity += std::to_string(part) + ".";
  }
  return identity;
}

}  // namespace

File::File(const std::string& path, const FileErrors& errors) : path_(path), errors_(errors) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) fail_open(path, errno, errors);
  struct stat about {};
  if (fstat(descriptor_, &about) != 0 || !S_ISREG(about.st_mode)) {
    close(descriptor_);
    throw Error(errors.irregular, "not a regular file: " + path);
  }
  size_ = static_cast<std::uint64_t>(about.st_size);
  identity_ = identity_of(about);
}

File::~File() { close(descriptor_); }

void File::read(std::uint64_t offset, void* to, std::size_t bytes) const {
  auto* at = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t got = pread(descriptor_, at, std::min(bytes, kMostAtOnce), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(errors_.unreadable, path_ + " cannot be read: " + std::strerror(errno));
    if (got == 0) throw Error(errors_.cut_off, path_ + " ends before its contents do");
    at += got;
    offset += static_cast<std::uint64_t>(got);
    bytes -= static_cast<std::size_t>(got);
  }
}

std::string File::read_text(std::uint64_t offset, std::size_t bytes) const {
  std::string text(bytes, '\0');
  read(offset, text.data(), bytes);
  return text;
}

}  // namespace torchclip::core
