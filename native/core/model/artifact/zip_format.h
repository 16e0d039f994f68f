// The numbers of the zip format (APPNOTE.TXT 6.3) that the reader and the writer of archives share.
#pragma once

#include <cstddef>
#include <cstdint>

namespace torchclip::core {

constexpr std::uint32_t kEndSignature = 0x06054b50, kEnd64Signature = 0x06064b50, kLocatorSignature = 0x07064b50;
constexpr std::uint32_t kDirectorySignature = 0x02014b50, kLocalSignature = 0x04034b50;
constexpr std::size_t kLocalBytes = 30;  // Of a record's own header, before its name.
constexpr std::uint16_t kZip64Extra = 1, kStored = 0;
// A field that is full says that the number stands in a zip64 field.
constexpr std::uint64_t kMost16 = 0xFFFF, kMost32 = 0xFFFFFFFF;

}  // namespace torchclip::core
