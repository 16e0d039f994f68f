#include "base/mapped_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/platform_file.h"

namespace torchclip::core {

MappedFile::Region::Region(int descriptor, std::size_t length) : bytes(length) {
  if (bytes == 0) return;
  data = map_for_reading(descriptor, bytes);
  if (!data) {
    const std::string reason = std::strerror(errno);
    throw Error(TORCHCLIP_E_OUT_OF_MEMORY, std::to_string(bytes) + " bytes cannot be mapped: " + reason);
  }
}

MappedFile::Region::~Region() {
  if (data) unmap(data, bytes);
}

MappedFile::MappedFile(std::shared_ptr<const File> file, std::size_t bytes)
    : file_(std::move(file)), region_(file_->descriptor(), bytes), guard_(region_.data, bytes) {}

bool MappedFile::intact() const noexcept {
  FileState now;
  return !guard_.faulted() && state_of(file_->descriptor(), now) && now.size >= region_.bytes;
}

}  // namespace torchclip::core
