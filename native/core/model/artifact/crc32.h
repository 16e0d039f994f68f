// CRC-32 as zip archives use it (ISO 3309; APPNOTE.TXT 6.3.10, section 4.4.7).
#pragma once

#include <cstddef>
#include <cstdint>

namespace torchclip::core {

// The checksum of bytes that come in several pieces.
class Crc32 {
 public:
  void add(const void* data, std::size_t bytes);
  std::uint32_t value() const noexcept { return ~state_; }

 private:
  std::uint32_t state_ = 0xFFFFFFFFu;
};

std::uint32_t crc32(const void* data, std::size_t bytes);

}  // namespace torchclip::core
