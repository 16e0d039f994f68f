// A regular file that is opened once: what is checked is what is read, even where its name comes to mean another file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "torchclip/torchclip.h"

namespace torchclip::core {

// The errors of a kind of file.
struct FileErrors {
  torchclip_status missing, unopenable,
      irregular;                         // there is no such file; the system refuses it; it is a folder, pipe or device
  torchclip_status cut_off, unreadable;  // it ends before its contents do; the system fails to read it
};
constexpr FileErrors kModelFile{TORCHCLIP_E_MODEL_NOT_FOUND, TORCHCLIP_E_READ, TORCHCLIP_E_MODEL_NOT_FOUND,
                                TORCHCLIP_E_MODEL_CORRUPT, TORCHCLIP_E_READ};
constexpr FileErrors kIndexFile{TORCHCLIP_E_INDEX_NOT_FOUND, TORCHCLIP_E_INDEX_NOT_FOUND, TORCHCLIP_E_INDEX_CORRUPT,
                                TORCHCLIP_E_INDEX_CORRUPT, TORCHCLIP_E_INDEX_CORRUPT};

class File {
 public:
  // Opens `path` for reading, without waiting for the writer of a pipe. Throws Error of `errors`, with the system's
  // reason where it has one.
  explicit File(const std::string& path, const FileErrors& errors = kModelFile);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& path() const noexcept { return path_; }
  int descriptor() const noexcept { return descriptor_; }
  // Bytes of the file when it was opened.
  std::uint64_t size() const noexcept { return size_; }
  // Which file this is, and its state when it was opened: device, inode, size, times of the last changes.
  const std::string& identity() const noexcept { return identity_; }

  // Reads exactly `bytes` bytes that begin at `offset`; safe from several threads at once. Throws
  // Error(cut_off) where the file ends before, Error(unreadable) where the system fails.
  void read(std::uint64_t offset, void* to, std::size_t bytes) const;
  std::string read_text(std::uint64_t offset, std::size_t bytes) const;

 private:
  std::string path_, identity_;
  FileErrors errors_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace torchclip::core
