// One long-lived memory block.
#pragma once

#include <cstddef>
#include <memory>

#include "base/platform_memory.h"

namespace torchclip::core {

// A memory block, aligned for the kernels and in huge pages if the system supports them.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes);
  template <typename T>
  T* as() const noexcept {
    return static_cast<T*>(data_.get());
  }
  std::size_t bytes() const noexcept { return bytes_; }
  // Grows the buffer to at least `bytes`; its previous contents are lost.
  void grow(std::size_t bytes) {
    if (bytes > bytes_) *this = Buffer(bytes);
  }

 private:
  std::shared_ptr<void> data_;
  std::size_t bytes_ = 0;
};

}  // namespace torchclip::core
