// Writes a zip archive of stored records as libtorch's writer lays it out (caffe2/serialize/inline_container.cc): each
// record's data begins at a multiple of 64 bytes. The bytes depend on the contents alone: all records have the same
// date. APPNOTE.TXT 6.3.10, sections 4.3.7 to 4.3.16, with zip64 for what does not fit into 32 bits.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/output_file.h"
#include "model/artifact/crc32.h"

namespace torchclip::core {

class ZipWriter {
 public:
  struct Record {
    std::string name;
    std::uint64_t header = 0;  // The offset of its local header.
    std::uint64_t bytes = 0;
    std::uint32_t crc = 0;
  };

  // Writes to `file`, which must be empty and must outlive this object. All functions throw what OutputFile throws.
  explicit ZipWriter(OutputFile& file) : file_(file) {}

  // A record whose contents come in pieces: begin(), then append() until `bytes` bytes are complete, then end().
  void begin(const std::string& name, std::uint64_t bytes);
  void append(const void* data, std::size_t bytes);
  void end();

  // A record whose contents are in memory.
  void add(const std::string& name, std::string_view contents);

  // Writes the directory. Nothing can be added afterwards.
  void finish();

  // The records that are complete.
  const std::vector<Record>& records() const noexcept { return records_; }

 private:
  OutputFile& file_;
  std::vector<Record> records_;
  Record current_;
  Crc32 checksum_;
};

}  // namespace torchclip::core
