#include "model/artifact/module_archive.h"

#include <string_view>

#include "base/output_file.h"
#include "model/artifact/module_code.h"
#include "model/artifact/module_pickle.h"
#include "model/artifact/zip_writer.h"

namespace torchclip::core {
namespace {

constexpr const char* kFolder = "archive/";  // All records lie in it; libtorch takes the name from the first record.
constexpr std::string_view kNoConstants("\x80\x02).", 4);  // The pickle of an empty tuple.

// Writes each tensor into a record of its own: data/0, data/1 ...
std::map<std::string, RecordedTensor> write_tensors(const std::map<std::string, TensorSource>& sources,
                                                    ZipWriter& zip) {
  std::map<std::string, RecordedTensor> recorded;
  for (const auto& [name, source] : sources) {
    const std::size_t record = recorded.size();
    zip.begin(kFolder + std::string("data/") + std::to_string(record), source.bytes());
    source.read([&](const char* values, std::size_t bytes) { zip.append(values, bytes); });
    zip.end();
    recorded.emplace(name, RecordedTensor{record, source.type(), source.shape()});
  }
  return recorded;
}

// FNV-1a (Fowler, Noll, Vo), continued from `hash`.
std::uint64_t hashed(std::uint64_t hash, std::string_view bytes) {
  constexpr std::uint64_t kPrime = 0x100000001b3;
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * kPrime;
  return hash;
}

std::string digits(std::uint64_t number) {
  constexpr std::size_t kWidth = 20;
  const auto text = std::to_string(number);
  return std::string(kWidth - text.size(), '0') + text;
}

// Tells archives of different contents apart, as libtorch's id does: 20 digits of a hash of the names of all records,
// and 20 of a hash of their checksums.
std::string serialization_id(const std::vector<ZipWriter::Record>& records) {
  constexpr std::uint64_t kStart = 0xcbf29ce484222325;
  std::uint64_t names = kStart, checksums = kStart;
  for (const auto& record : records) {
    names = hashed(names, record.name + "\n");
    checksums = hashed(checksums, std::to_string(record.crc) + "\n");
  }
  return digits(names) + digits(checksums);
}

}  // namespace

Shapes shapes_of(const std::map<std::string, TensorSource>& tensors) {
  Shapes shapes;
  for (const auto& [name, source] : tensors) shapes.emplace(name, source.shape());
  return shapes;
}

void write_module_archive(const ModuleArchive& archive, const std::string& path) {
  OutputFile file(path);
  ZipWriter zip(file);
  const auto add = [&](const std::string& name, std::string_view contents) { zip.add(kFolder + name, contents); };
  for (const auto& [name, contents] : archive.extra_files) add("extra/" + name, contents);
  const auto tensors = write_tensors(archive.tensors, zip);
  add("data.pkl", module_pickle(archive.modules, archive.attributes, tensors));
  add("code/__torch__/torchclip.py", module_code(archive.modules, archive.attributes));
  add("constants.pkl", kNoConstants);
  add("version", std::to_string(kOperatorVersion) + "\n");
  add("byteorder", "little");
  add(".data/serialization_id", serialization_id(zip.records()));
  zip.finish();
  file.close();
}

}  // namespace torchclip::core
