#include "model/artifact/zip_writer.h"

#include <utility>

#include "model/artifact/zip_format.h"

namespace torchclip::core {
namespace {

constexpr std::uint64_t kCrcOffset = 14;                 // Of the CRC in a record's own header.
constexpr std::uint64_t kVersion = 20, kVersion64 = 45;  // 2.0 and 4.5: what a reader must know; 4.5 has zip64.
constexpr std::uint64_t kNoFlags = 0, kMidnight = 0;
constexpr std::uint64_t kDate = 0x0021;   // 1 January 1980, the first date that a zip archive can hold.
constexpr std::uint64_t kEnd64Rest = 44;  // The bytes of the zip64 end after its size.
// libtorch's padding: an extra field with the id "FB", so that the data can be mapped as vectors.
constexpr std::uint64_t kPaddingExtra = 0x4246, kAlignment = 64, kExtraHeader = 4;

// Little-endian numbers one after another.
class Bytes {
 public:
  Bytes& u16(std::uint64_t value) { return number(value, 2); }
  Bytes& u32(std::uint64_t value) { return number(value, 4); }
  Bytes& u64(std::uint64_t value) { return number(value, 8); }
  Bytes& text(std::string_view value) {
    text_ += value;
    return *this;
  }
  const std::string& all() const noexcept { return text_; }

 private:
  Bytes& number(std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) text_ += static_cast<char>(value >> (8 * i) & 0xFF);
    return *this;
  }

  std::string text_;
};

// A value in a field of 32 bits: all ones where the zip64 field has it.
std::uint64_t in_32(std::uint64_t value) { return value >= kMost32 ? kMost32 : value; }
std::uint64_t in_16(std::uint64_t value) { return value >= kMost16 ? kMost16 : value; }

void add_extra(Bytes& extra, std::uint64_t id, const std::string& contents) {
  extra.u16(id).u16(contents.size()).text(contents);
}

// The zip64 field, if the size needs one, and the padding that brings the data to the alignment.
std::string local_extra(const ZipWriter::Record& record) {
  Bytes extra;
  if (record.bytes >= kMost32) add_extra(extra, kZip64Extra, Bytes().u64(record.bytes).u64(record.bytes).all());
  const auto unpadded = record.header + kLocalBytes + record.name.size() + extra.all().size() + kExtraHeader;
  const auto padding = (kAlignment - unpadded % kAlignment) % kAlignment;
  add_extra(extra, kPaddingExtra, std::string(padding, 'Z'));
  return extra.all();
}

std::string local_header(const ZipWriter::Record& record) {
  const auto extra = local_extra(record);
  Bytes header;
  header.u32(kLocalSignature).u16(record.bytes >= kMost32 ? kVersion64 : kVersion).u16(kNoFlags).u16(kStored);
  header.u16(kMidnight).u16(kDate).u32(record.crc).u32(in_32(record.bytes)).u32(in_32(record.bytes));
  header.u16(record.name.size()).u16(extra.size()).text(record.name).text(extra);
  return header.all();
}

void add_directory_entry(Bytes& directory, const ZipWriter::Record& record) {
  Bytes large;
  if (record.bytes >= kMost32) large.u64(record.bytes).u64(record.bytes);
  if (record.header >= kMost32) large.u64(record.header);
  Bytes extra;
  if (!large.all().empty()) add_extra(extra, kZip64Extra, large.all());
  const auto version = extra.all().empty() ? kVersion : kVersion64;
  directory.u32(kDirectorySignature).u16(version).u16(version).u16(kNoFlags).u16(kStored);
  directory.u16(kMidnight).u16(kDate).u32(record.crc).u32(in_32(record.bytes)).u32(in_32(record.bytes));
  directory.u16(record.name.size()).u16(extra.all().size()).u16(0);  // No comment.
  directory.u16(0).u16(0).u32(0).u32(in_32(record.header));          // The first volume; no attributes.
  directory.text(record.name).text(extra.all());
}

// The directory lies at `offset` and has `bytes` bytes.
std::string directory_end(std::uint64_t records, std::uint64_t offset, std::uint64_t bytes) {
  Bytes end;
  if (records >= kMost16 || offset >= kMost32 || bytes >= kMost32) {
    end.u32(kEnd64Signature).u64(kEnd64Rest).u16(kVersion64).u16(kVersion64).u32(0).u32(0);
    end.u64(records).u64(records).u64(bytes).u64(offset);
    end.u32(kLocatorSignature).u32(0).u64(offset + bytes).u32(1);  // One volume.
  }
  end.u32(kEndSignature).u16(0).u16(0).u16(in_16(records)).u16(in_16(records));
  end.u32(in_32(bytes)).u32(in_32(offset)).u16(0);  // No comment.
  return end.all();
}

}  // namespace

void ZipWriter::begin(const std::string& name, std::uint64_t bytes) {
  current_ = {name, file_.size(), bytes, 0};
  checksum_ = Crc32();
  const auto header = local_header(current_);
  file_.append(header.data(), header.size());
}

void ZipWriter::append(const void* data, std::size_t bytes) {
  checksum_.add(data, bytes);
  file_.append(data, bytes);
}

void ZipWriter::end() {
  // The checksum stands before the data and is known only now.
  current_.crc = checksum_.value();
  const auto crc = Bytes().u32(current_.crc).all();
  file_.replace(current_.header + kCrcOffset, crc.data(), crc.size());
  records_.push_back(std::move(current_));
}

void ZipWriter::add(const std::string& name, std::string_view contents) {
  begin(name, contents.size());
  append(contents.data(), contents.size());
  end();
}

void ZipWriter::finish() {
  Bytes directory;
  for (const auto& record : records_) add_directory_entry(directory, record);
  const auto end = directory_end(records_.size(), file_.size(), directory.all().size());
  file_.append(directory.all().data(), directory.all().size());
  file_.append(end.data(), end.size());
}

}  // namespace torchclip::core
