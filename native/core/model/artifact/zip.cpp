#include "model/artifact/zip.h"

#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "model/artifact/crc32.h"
#include "model/artifact/zip_format.h"

namespace torchclip::core {
namespace {

constexpr std::size_t kEndBytes = 22, kLocatorBytes = 20, kEnd64Bytes = 56, kDirectoryBytes = 46;
constexpr std::size_t kLongestComment = 65535;
constexpr std::uint16_t kEncrypted = 1;
// The largest published CLIP has about 3,000 tensors.
constexpr std::uint64_t kMostRecords = 1 << 16, kMostDirectoryBytes = 32 << 20;

[[noreturn]] void corrupt(const File& file, const std::string& what) {
  throw Error(TORCHCLIP_E_MODEL_CORRUPT, file.path() + " is not a whole archive: " + what);
}

// Little-endian numbers at an offset of a text whose length the caller has checked.
std::uint64_t number(const std::string& from, std::size_t at, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(from[at + i]);
  return value;
}

struct Directory {
  std::uint64_t records = 0, bytes = 0, offset = 0;
};

Directory find_directory64(const File& file, std::uint64_t locator_at) {
  const auto locator = file.read_text(locator_at, kLocatorBytes);
  if (number(locator, 0, 4) != kLocatorSignature) corrupt(file, "its zip64 locator is missing");
  const auto end_at = number(locator, 8, 8);
  if (end_at > locator_at || locator_at - end_at < kEnd64Bytes) corrupt(file, "its zip64 directory end lies outside");
  const auto end = file.read_text(end_at, kEnd64Bytes);
  if (number(end, 0, 4) != kEnd64Signature) corrupt(file, "its zip64 directory end is missing");
  if (number(end, 16, 4) != 0 || number(end, 20, 4) != 0) corrupt(file, "it has several volumes");
  return {number(end, 32, 8), number(end, 40, 8), number(end, 48, 8)};
}

Directory find_directory(const File& file) {
  if (file.size() < kEndBytes) corrupt(file, "it is too short");
  const auto tail_bytes = static_cast<std::size_t>(std::min<std::uint64_t>(file.size(), kEndBytes + kLongestComment));
  const std::uint64_t tail_at = file.size() - tail_bytes;
  const auto tail = file.read_text(tail_at, tail_bytes);
  for (std::size_t at = tail_bytes - kEndBytes + 1; at-- > 0;) {
    if (number(tail, at, 4) != kEndSignature) continue;
    if (at + kEndBytes + number(tail, at + 20, 2) != tail_bytes) continue;
    if (number(tail, at + 4, 2) != 0 || number(tail, at + 6, 2) != 0) corrupt(file, "it has several volumes");
    Directory found{number(tail, at + 10, 2), number(tail, at + 12, 4), number(tail, at + 16, 4)};
    const bool zip64 = found.records == kMost16 || found.bytes == kMost32 || found.offset == kMost32;
    const std::uint64_t end_at = tail_at + at;
    if (zip64) {
      if (end_at < kLocatorBytes) corrupt(file, "its zip64 locator is missing");
      found = find_directory64(file, end_at - kLocatorBytes);
    }
    if (found.records > kMostRecords || found.bytes > kMostDirectoryBytes) corrupt(file, "its directory is too large");
    if (found.offset > end_at || found.bytes > end_at - found.offset) corrupt(file, "its directory lies outside");
    return found;
  }
  corrupt(file, "it has no directory");
}

// A record as the directory has it; `offset` is that of its own header still.
struct Entry {
  ZipRecord record;
  std::uint64_t header = 0;
};

// The 64-bit fields of a directory entry whose 32-bit ones are full, in their fixed order.
void read_zip64_fields(const File& file, const std::string& extra, std::uint64_t& whole, std::uint64_t& bytes,
                       std::uint64_t& header) {
  for (std::size_t at = 0; at + 4 <= extra.size();) {
    const auto id = number(extra, at, 2), size = number(extra, at + 2, 2);
    if (size > extra.size() - at - 4) corrupt(file, "a record's extra field is cut");
    if (id == kZip64Extra) {
      std::size_t field = at + 4;
      const std::size_t end = field + size;
      for (std::uint64_t* value : {&whole, &bytes, &header}) {
        if (*value != kMost32) continue;
        if (end - field < 8) corrupt(file, "a record's zip64 field is cut");
        *value = number(extra, field, 8);
        field += 8;
      }
      return;
    }
    at += 4 + size;
  }
}

std::vector<Entry> read_entries(const File& file, const Directory& directory) {
  const auto text = file.read_text(directory.offset, static_cast<std::size_t>(directory.bytes));
  std::vector<Entry> entries;
  std::size_t at = 0;
  for (std::uint64_t i = 0; i < directory.records; ++i) {
    if (text.size() - at < kDirectoryBytes || number(text, at, 4) != kDirectorySignature) {
      corrupt(file, "its directory is cut");
    }
    const auto name_bytes = number(text, at + 28, 2), extra_bytes = number(text, at + 30, 2);
    const auto comment_bytes = number(text, at + 32, 2);
    if (text.size() - at - kDirectoryBytes < name_bytes + extra_bytes + comment_bytes) {
      corrupt(file, "its directory is cut");
    }
    Entry entry;
    entry.record.name = text.substr(at + kDirectoryBytes, name_bytes);
    entry.record.crc = static_cast<std::uint32_t>(number(text, at + 16, 4));
    entry.record.bytes = number(text, at + 20, 4);
    std::uint64_t whole = number(text, at + 24, 4);
    entry.header = number(text, at + 42, 4);
    read_zip64_fields(file, text.substr(at + kDirectoryBytes + name_bytes, extra_bytes), whole, entry.record.bytes,
                      entry.header);
    if (number(text, at + 8, 2) & kEncrypted) corrupt(file, entry.record.name + " is encrypted");
    entry.record.stored = number(text, at + 10, 2) == kStored;
    if (entry.record.stored && whole != entry.record.bytes) corrupt(file, entry.record.name + " has two sizes");
    if (entry.header > directory.offset || directory.offset - entry.header < kLocalBytes) {
      corrupt(file, entry.record.name + " lies outside the file");
    }
    entries.push_back(std::move(entry));
    at += kDirectoryBytes + name_bytes + extra_bytes + comment_bytes;
  }
  return entries;
}

// Where the data of a record begins, by its own header, whose name must be the directory's.
void find_data(const File& file, const Directory& directory, Entry& entry) {
  const auto header = file.read_text(entry.header, kLocalBytes);
  auto& record = entry.record;
  if (number(header, 0, 4) != kLocalSignature) corrupt(file, record.name + " has no header of its own");
  const auto name_bytes = number(header, 26, 2), extra_bytes = number(header, 28, 2);
  const std::uint64_t begin = entry.header + kLocalBytes + name_bytes + extra_bytes;
  if (begin > directory.offset || record.bytes > directory.offset - begin) {
    corrupt(file, record.name + " lies outside the file");
  }
  if (file.read_text(entry.header + kLocalBytes, name_bytes) != record.name) {
    corrupt(file, record.name + " has another name in its own header");
  }
  record.offset = begin;
}

void check_names(const File& file, const std::vector<Entry>& entries) {
  std::unordered_set<std::string> seen;
  for (const auto& entry : entries) {
    auto name = entry.record.name;
    if (name.empty() || name.find('\0') != std::string::npos) corrupt(file, "a record has no proper name");
    // libtorch finds records without regard to the case of ASCII letters.
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (!seen.insert(name).second) corrupt(file, "two records have the name " + entry.record.name);
  }
}

void check_overlaps(const File& file, std::vector<Entry> entries) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.header < b.header; });
  for (std::size_t i = 1; i < entries.size(); ++i) {
    const auto& before = entries[i - 1].record;
    if (entries[i].header < before.offset + before.bytes) {
      corrupt(file, before.name + " and " + entries[i].record.name + " overlap");
    }
  }
}

}  // namespace

std::vector<ZipRecord> read_zip_directory(const File& file) {
  const auto directory = find_directory(file);
  auto entries = read_entries(file, directory);
  check_names(file, entries);
  for (auto& entry : entries) find_data(file, directory, entry);
  check_overlaps(file, entries);
  std::vector<ZipRecord> records;
  records.reserve(entries.size());
  for (auto& entry : entries) records.push_back(std::move(entry.record));
  return records;
}

std::string read_stored(const File& file, const ZipRecord& record, std::uint64_t most) {
  if (!record.stored) corrupt(file, record.name + " is compressed");
  if (record.bytes > most) corrupt(file, record.name + " has more than " + std::to_string(most) + " bytes");
  auto text = file.read_text(record.offset, static_cast<std::size_t>(record.bytes));
#if !defined(FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION)  // the macro of libFuzzer's builds
  if (crc32(text.data(), text.size()) != record.crc) corrupt(file, record.name + " has a wrong checksum");
#endif
  return text;
}

}  // namespace torchclip::core
