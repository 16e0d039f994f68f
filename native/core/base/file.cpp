#include "base/file.h"

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/platform_file.h"

namespace torchclip::core {
namespace {

[[noreturn]] void fail_open(const std::string& path, int reason, const FileErrors& errors) {
  if (reason == ENOENT || reason == ENOTDIR) throw Error(errors.missing, "no such file: " + path);
  throw Error(errors.unopenable, path + " cannot be opened: " + std::strerror(reason));
}

}  // namespace

File::File(const std::string& path, const FileErrors& errors) : path_(path), errors_(errors) {
  descriptor_ = open_for_reading(path);
  if (descriptor_ < 0) fail_open(path, errno, errors);
  FileState state;
  if (!state_of(descriptor_, state) || !state.is_regular) {
    close_descriptor(descriptor_);
    throw Error(errors.irregular, "not a regular file: " + path);
  }
  size_ = state.size;
  for (const std::int64_t part : state.identity) identity_ += std::to_string(part) + ".";
}

File::~File() { close_descriptor(descriptor_); }

void File::read(std::uint64_t offset, void* to, std::size_t bytes) const {
  auto* at = static_cast<char*>(to);
  while (bytes > 0) {
    const std::int64_t got = read_at(descriptor_, at, bytes, offset);
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
