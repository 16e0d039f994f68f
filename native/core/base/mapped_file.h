// A file mapped for reading. Another process may shorten or remove the file in the meantime without harm to this
// process.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "base/file.h"
#include "base/platform_bus_guard.h"

namespace torchclip::core {

// The first `bytes` bytes of a file.
class MappedFile {
 public:
  // Throws Error(E_OUT_OF_MEMORY) if the file cannot be mapped. A size of 0 creates no mapping.
  MappedFile(std::shared_ptr<const File> file, std::size_t bytes);

  const char* data() const noexcept { return region_.data; }
  const std::string& path() const noexcept { return file_->path(); }
  // Returns false once the file is shorter than its mapping; values that were read may then be zeros. Call it after
  // reading.
  bool intact() const noexcept;

 private:
  struct Region {
    Region(int descriptor, std::size_t length);
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
