// The directory of a zip archive, checked as a whole before any record is read (APPNOTE.TXT 6.3.10, sections 4.3.7 to
// 4.3.16, with zip64).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"

namespace torchclip::core {

struct ZipRecord {
  std::string name;
  std::uint64_t offset = 0;  // of its data in the file
  std::uint64_t bytes = 0;   // of its data in the file
  std::uint32_t crc = 0;     // CRC-32 of its contents
  bool stored = false;       // not compressed: its contents are its data
};

// All records, in the order of the directory. Throws Error(E_MODEL_CORRUPT) where the directory or a record lies
// outside the file, records overlap, a name is empty, contains NUL or occurs twice without regard to case, a record is
// encrypted or in several volumes, or a record's own header has another name than the directory says.
std::vector<ZipRecord> read_zip_directory(const File& file);

// CRC-32 (ISO 3309) of `bytes` bytes.
std::uint32_t crc32(const void* data, std::size_t bytes);

// The contents of a stored record. Throws Error(E_MODEL_CORRUPT) where it is compressed, larger than `most` bytes, or
// has another CRC than the directory says.
std::string read_stored(const File& file, const ZipRecord& record, std::uint64_t most);

}  // namespace torchclip::core
