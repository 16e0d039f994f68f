// A regular file that is opened once, so that the bytes that were checked are the bytes that are read, even if its name
// is reassigned to another file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "torchclip/torchclip.h"

namespace torchclip::core {

// The status codes that are thrown for a kind of file.
struct FileErrors {
  torchclip_status missing, unopenable,
      irregular;                         // The file is missing; cannot be opened; is a folder, pipe or device.
  torchclip_status cut_off, unreadable;  // The file ends too early; the system fails to read it.
};
constexpr FileErrors kModelFile{TORCHCLIP_E_MODEL_NOT_FOUND, TORCHCLIP_E_READ, TORCHCLIP_E_MODEL_NOT_FOUND,
                                TORCHCLIP_E_MODEL_CORRUPT, TORCHCLIP_E_READ};
constexpr FileErrors kIndexFile{TORCHCLIP_E_INDEX_NOT_FOUND, TORCHCLIP_E_INDEX_NOT_FOUND, TORCHCLIP_E_INDEX_CORRUPT,
                                TORCHCLIP_E_INDEX_CORRUPT, TORCHCLIP_E_INDEX_CORRUPT};

class File {
 public:
  // Opens `path` for reading, without waiting for the writer of a pipe. Throws an Error with a status of `errors` and,
  // if available, the system's reason.
  explicit File(const std::string& path, const FileErrors& errors = kModelFile);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& path() const noexcept { return path_; }
  int descriptor() const noexcept { return descriptor_; }
  // The size in bytes when the file was opened.
  std::uint64_t size() const noexcept { return size_; }
  // Identifies the file and its state when it was opened: device, inode, size and the times of the last changes.
  const std::string& identity() const noexcept { return identity_; }

  // Reads exactly `bytes` bytes starting at `offset`. Thread-safe. Throws Error(cut_off) if the file ends before that,
  // and Error(unreadable) if the system fails.
  void read(std::uint64_t offset, void* to, std::size_t bytes) const;
  std::string read_text(std::uint64_t offset, std::size_t bytes) const;

 private:
  std::string path_, identity_;
  FileErrors errors_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace torchclip::core
