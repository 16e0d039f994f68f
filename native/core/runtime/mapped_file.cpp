#include "runtime/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/error.h"

namespace torchclip::core {
namespace {

std::size_t length_of(int descriptor) noexcept {
  struct stat info {};
  return fstat(descriptor, &info) == 0 ? static_cast<std::size_t>(info.st_size) : 0;
}

}  // namespace

ReadFile::ReadFile(const std::string& path, torchclip_status missing, torchclip_status corrupt) : path_(path) {
  // Without O_NONBLOCK the opening of a pipe would wait for a writer.
  descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) {
    const int reason = errno;
    const bool none = reason == ENOENT || reason == ENOTDIR;
    throw Error(missing, none ? "no such file: " + path : path + ": it cannot be opened: " + std::strerror(reason));
  }
  struct stat info {};
  if (fstat(descriptor_, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(descriptor_);
    throw Error(corrupt, path + ": it is no regular file");
  }
}

ReadFile::~ReadFile() { close(descriptor_); }

std::size_t ReadFile::bytes() const noexcept { return length_of(descriptor_); }

std::string ReadFile::read(std::size_t offset, std::size_t bytes) const {
  std::string found(std::min(bytes, this->bytes() - std::min(offset, this->bytes())), '\0');
  std::size_t done = 0;
  while (done < found.size()) {
    const auto n = pread(descriptor_, found.data() + done, found.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  found.resize(done);
  return found;
}

MappedFile::Region::Region(int descriptor, std::size_t bytes) : bytes(bytes) {
  if (bytes == 0) return;
  void* mapped = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, descriptor, 0);
  if (mapped == MAP_FAILED) {
    const std::string reason = std::strerror(errno);
    throw Error(TORCHCLIP_E_OUT_OF_MEMORY, std::to_string(bytes) + " bytes cannot be mapped: " + reason);
  }
  data = static_cast<const char*>(mapped);
}

MappedFile::Region::~Region() {
  if (data) munmap(const_cast<char*>(data), bytes);
}

MappedFile::MappedFile(const ReadFile& file, std::size_t bytes)
    : path_(file.path()),
      region_(file.descriptor(), bytes),
      guard_(region_.data, bytes),
      descriptor_(fcntl(file.descriptor(), F_DUPFD_CLOEXEC, 0)) {
  if (descriptor_ < 0) throw Error(TORCHCLIP_E_OUT_OF_MEMORY, path_ + ": no file handles are left");
}

MappedFile::~MappedFile() { close(descriptor_); }

bool MappedFile::intact() const noexcept { return !guard_.faulted() && length_of(descriptor_) >= region_.bytes; }

}  // namespace torchclip::core
