// A file mapped for reading, which another process may shorten or remove meanwhile without harm to this one.
#pragma once

#include <cstddef>
#include <string>

#include "runtime/bus_guard.h"
#include "runtime/error.h"

namespace torchclip::core {

// A file that was opened for reading: never a pipe or a device, whose opening or length could hold up the caller.
class ReadFile {
 public:
  // Throws Error(missing) where there is no such file or it cannot be opened, Error(corrupt) where it is no regular
  // file.
  ReadFile(const std::string& path, torchclip_status missing, torchclip_status corrupt);
  ~ReadFile();
  ReadFile(const ReadFile&) = delete;
  ReadFile& operator=(const ReadFile&) = delete;

  const std::string& path() const noexcept { return path_; }
  int descriptor() const noexcept { return descriptor_; }
  // As of now.
  std::size_t bytes() const noexcept;
  // Up to `bytes` bytes from `offset` on; fewer where the file ends before or cannot be read.
  std::string read(std::size_t offset, std::size_t bytes) const;

 private:
  std::string path_;
  int descriptor_;
};

// The first `bytes` bytes of a file.
class MappedFile {
 public:
  // Throws Error(E_OUT_OF_MEMORY) where it cannot be mapped. 0 bytes are mapped nowhere.
  MappedFile(const ReadFile& file, std::size_t bytes);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const char* data() const noexcept { return region_.data; }
  const std::string& path() const noexcept { return path_; }
  // False once the file is shorter than what is mapped: what was read may be zeros. Ask after reading.
  bool intact() const noexcept;

 private:
  struct Region {
    Region(int descriptor, std::size_t bytes);
    ~Region();
    const char* data = nullptr;
    std::size_t bytes;
  };
  std::string path_;
  Region region_;
  BusGuard guard_;
  int descriptor_;  // a duplicate, for its length
};

}  // namespace torchclip::core
