#include "base/mapped_file.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace torchclip::core {

MappedFile::Region::Region(int descriptor, std::size_t length) : bytes(length) {
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

MappedFile::MappedFile(std::shared_ptr<const File> file, std::size_t bytes)
    : file_(std::move(file)), region_(file_->descriptor(), bytes), guard_(region_.data, bytes) {}

bool MappedFile::intact() const noexcept {
  struct stat now {};
  return !guard_.faulted() && fstat(file_->descriptor(), &now) == 0 &&
         static_cast<std::size_t>(now.st_size) >= region_.bytes;
}

}  // namespace torchclip::core
