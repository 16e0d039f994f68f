// The directory of a zip archive, which is checked completely before any record is read (APPNOTE.TXT 6.3.10, sections
// 4.3.7 to 4.3.16, with zip64).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"

namespace torchclip::core {

struct ZipRecord {
  std::string name;
  std::uint64_t offset = 0;  // Of its data in the file.
  std::uint64_t bytes = 0;   // Of its data in the file.
  std::uint32_t crc = 0;     // The CRC-32 of its contents.
  bool stored = false;       // Not compressed: its contents are its data.
};

// Returns all records in the order of the directory. Throws Error(E_MODEL_CORRUPT) if the directory or a record lies
// outside the file, records overlap, a name is empty, contains NUL or occurs twice (ignoring case), a record is
// encrypted or split over several volumes, or the name in a record's own header differs from the directory.
std::vector<ZipRecord> read_zip_directory(const File& file);

// Returns the contents of a stored record. Throws Error(E_MODEL_CORRUPT) if it is compressed, is larger than `most`
// bytes, or has a CRC other than the directory says.
std::string read_stored(const File& file, const ZipRecord& record, std::uint64_t most);

}  // namespace torchclip::core
