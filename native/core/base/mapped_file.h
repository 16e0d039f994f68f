// A file mapped for reading, which another process may shorten or remove meanwhile without harm to this one.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "base/bus_guard.h"
#include "base/file.h"

namespace torchclip::core {

// The first `bytes` bytes of a file.
class MappedFile {
 public:
  // Throws Error(E_OUT_OF_MEMORY) where it cannot be mapped. 0 bytes are mapped nowhere.
  MappedFile(std::shared_ptr<const File> file, std::size_t bytes);

  const char* data() const noexcept { return region_.data; }
  const std::string& path() const noexcept { return file_->path(); }
  // False once the file is shorter than what is mapped: what was read may be zeros. Ask after reading.
  bool intact() const noexcept;

 private:
  struct Region {
    Region(int descriptor, std::size_t bytes);
    ~Region();
    Region(const Region&) = delete;
    Region& operator=(const Region&) = delete;
    const char* data = nullptr;
    std::size_t bytes;
  };
  std::shared_ptr<const File> file_;
  Region region_;
  BusGuard guard_;
};

}  // namespace torchclip::core
