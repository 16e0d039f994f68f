#include "model/artifact/crc32.h"

#include <array>

namespace torchclip::core {
namespace {

constexpr std::size_t kAtOnce = 8;
constexpr std::uint32_t kPolynomial = 0xEDB88320u;  // Reflected.

using Tables = std::array<std::array<std::uint32_t, 256>, kAtOnce>;

// Slicing-by-8 (Kounavis and Berry 2005): table k holds the checksum of a byte that k zero bytes follow, so that eight
// bytes are looked up independently of each other.
constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c & 1) != 0 ? kPolynomial ^ (c >> 1) : c >> 1;
    tables[0][i] = c;
  }
  for (std::size_t k = 1; k < kAtOnce; ++k) {
    for (std::size_t i = 0; i < 256; ++i) {
      const std::uint32_t before = tables[k - 1][i];
      tables[k][i] = tables[0][before & 0xFF] ^ (before >> 8);
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

}  // namespace

void Crc32::add(const void* data, std::size_t bytes) {
  const auto* at = static_cast<const unsigned char*>(data);
  std::uint32_t c = state_;
  for (; bytes >= kAtOnce; bytes -= kAtOnce, at += kAtOnce) {
    c = kTables[7][(c ^ at[0]) & 0xFF] ^ kTables[6][((c >> 8) ^ at[1]) & 0xFF] ^
        kTables[5][((c >> 16) ^ at[2]) & 0xFF] ^ kTables[4][((c >> 24) ^ at[3]) & 0xFF] ^ kTables[3][at[4]] ^
        kTables[2][at[5]] ^ kTables[1][at[6]] ^ kTables[0][at[7]];
  }
  for (; bytes > 0; --bytes, ++at) c = kTables[0][(c ^ *at) & 0xFF] ^ (c >> 8);
  state_ = c;
}

std::uint32_t crc32(const void* data, std::size_t bytes) {
  Crc32 checksum;
  checksum.add(data, bytes);
  return checksum.value();
}

}  // namespace torchclip::core
