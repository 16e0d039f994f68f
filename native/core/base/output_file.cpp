#include "base/output_file.h"

#include <cerrno>
#include <system_error>

#include "base/error.h"
#include "base/platform_file.h"

namespace torchclip::core {
OutputFile::OutputFile(const std::string& path) : path_(path) {
  descriptor_ = create_for_writing(path);
  if (descriptor_ < 0) fail(errno);
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) close_descriptor(descriptor_);
}

void OutputFile::append(const void* from, std::size_t bytes) {
  write(size_, from, bytes);
  size_ += bytes;
}

void OutputFile::replace(std::uint64_t offset, const void* from, std::size_t bytes) { write(offset, from, bytes); }

void OutputFile::close() {
  const int descriptor = descriptor_;
  descriptor_ = -1;  // Linux closes the descriptor even if close() fails.
  if (close_descriptor(descriptor) != 0 && errno != EINTR) fail(errno);
}

void OutputFile::write(std::uint64_t offset, const void* from, std::size_t bytes) {
  const auto* at = static_cast<const char*>(from);
  while (bytes > 0) {
    const std::int64_t done = write_at(descriptor_, at, bytes, offset);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail(errno);
    if (done == 0) fail(EIO);
    at += done;
    offset += static_cast<std::uint64_t>(done);
    bytes -= static_cast<std::size_t>(done);
  }
}

void OutputFile::fail(int reason) const {
  throw Error(TORCHCLIP_E_WRITE, path_ + " could not be written: " + std::generic_category().message(reason));
}

}  // namespace torchclip::core
