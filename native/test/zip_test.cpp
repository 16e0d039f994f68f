// The zip archives of artifacts: what the writer writes is what the reader reads.
#include <string>
#include <vector>

#include "base/file.h"
#include "base/output_file.h"
#include "check.h"
#include "files.h"
#include "model/artifact/crc32.h"
#include "model/artifact/zip.h"
#include "model/artifact/zip_writer.h"

using namespace torchclip;

namespace {

constexpr std::uint64_t kAlignment = 64, kMost = 1 << 20;

std::string text_of(std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * 131 + i / 7);
  return text;
}

void write_archive(const std::string& path, const std::vector<std::string>& contents) {
  core::OutputFile file(path);
  core::ZipWriter zip(file);
  for (std::size_t i = 0; i < contents.size(); ++i) zip.add("archive/data/" + std::to_string(i), contents[i]);
  zip.begin("archive/pieces", 2 * contents.back().size());
  for (int piece = 0; piece < 2; ++piece) zip.append(contents.back().data(), contents.back().size());
  zip.end();
  zip.finish();
  file.close();
}

std::string content_of(const core::File& file) { return file.read_text(0, static_cast<std::size_t>(file.size())); }

}  // namespace

TEST_CASE("CRC-32 has the check value of CRC-32/ISO-HDLC") {
  CHECK(core::crc32("123456789", 9) == 0xCBF43926u);
  CHECK(core::crc32("", 0) == 0);
}

TEST_CASE("the checksum of two pieces is that of the whole, wherever it is split") {
  const auto text = text_of(1000);
  const auto whole = core::crc32(text.data(), text.size());
  for (std::size_t split = 0; split <= 40; ++split) {
    CAPTURE(split);
    core::Crc32 checksum;
    checksum.add(text.data(), split);
    checksum.add(text.data() + split, text.size() - split);
    CHECK(checksum.value() == whole);
  }
}

TEST_CASE("records of every size are read as they were written, aligned, and the same bytes each time") {
  std::vector<std::string> contents;
  for (std::size_t bytes = 0; bytes < 200; ++bytes) contents.push_back(text_of(bytes));
  const test::TemporaryFile first, second;
  write_archive(first.path(), contents);
  write_archive(second.path(), contents);
  const core::File file(first.path()), again(second.path());
  const auto records = core::read_zip_directory(file);
  REQUIRE(records.size() == contents.size() + 1);
  for (std::size_t i = 0; i < contents.size(); ++i) {
    CAPTURE(i);
    CHECK(records[i].name == "archive/data/" + std::to_string(i));
    CHECK(records[i].offset % kAlignment == 0);
    CHECK(test::first_difference(core::read_stored(file, records[i], kMost), contents[i]) == "");
  }
  const auto pieces = contents.back() + contents.back();
  CHECK(test::first_difference(core::read_stored(file, records.back(), kMost), pieces) == "");
  CHECK(test::first_difference(content_of(again), content_of(file)) == "");
}

// More records than 16 bits count.
TEST_CASE("many records: the directory has a zip64 end") {
  constexpr std::size_t kRecords = 0xFFFF;
  const test::TemporaryFile target;
  core::OutputFile output(target.path());
  core::ZipWriter zip(output);
  for (std::size_t i = 0; i < kRecords; ++i) zip.add("archive/" + std::to_string(i), "x");
  zip.finish();
  output.close();
  const core::File file(target.path());
  CHECK(core::read_zip_directory(file).size() == kRecords);
}

TEST_CASE("a folder that is not there and a full disk are errors of writing") {
  CHECK(test::outcome_of([] { core::OutputFile file("/nonexistent-folder/file"); }) == TORCHCLIP_E_WRITE);
  const auto write_to_full_disk = [] {
    core::OutputFile file("/dev/full");
    core::ZipWriter(file).add("archive/record", "contents");
  };
  CHECK(test::outcome_of(write_to_full_disk) == TORCHCLIP_E_WRITE);
}
