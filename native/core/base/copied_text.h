// Text in memory of a caller from C.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string_view>

namespace torchclip::core {

// Copies at most size - 1 bytes and a NUL; a UTF-8 character that does not fit is left out whole.
inline void copy_text(char* to, std::size_t size, std::string_view text) noexcept {
  std::size_t length = std::min(text.size(), size - 1);
  const auto continues = [&](std::size_t i) { return (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80; };
  while (length < text.size() && length > 0 && continues(length)) --length;
  std::memcpy(to, text.data(), length);
  to[length] = '\0';
}

}  // namespace torchclip::core
