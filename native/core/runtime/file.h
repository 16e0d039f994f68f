// A regular file that is opened once: what is checked is what is read, even where its name comes to mean another file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace torchclip::core {

class File {
 public:
  // Opens `path` for reading. Throws Error(E_MODEL_NOT_FOUND) where there is no regular file of that name, and
  // Error(E_READ) with the system's reason where it cannot be opened (permission, no file handles left).
  explicit File(const std::string& path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& path() const noexcept { return path_; }
  // Bytes of the file when it was opened.
  std::uint64_t size() const noexcept { return size_; }
  // Which file this is, and its state when it was opened: device, inode, size, times of the last changes.
  const std::string& identity() const noexcept { return identity_; }

  // Reads exactly `bytes` bytes that begin at `offset`; safe from several threads at once. Throws
  // Error(E_MODEL_CORRUPT) where the file ends before, Error(E_READ) where the system fails.
  void read(std::uint64_t offset, void* to, std::size_t bytes) const;
  std::string read_text(std::uint64_t offset, std::size_t bytes) const;

 private:
  std::string path_, identity_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace torchclip::core
