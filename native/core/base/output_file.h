// A file that is written once, from its beginning to its end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace torchclip::core {

class OutputFile {
 public:
  // Creates the file, or empties the one that is there. Throws Error(E_WRITE) with the system's reason, as do all
  // functions below.
  explicit OutputFile(const std::string& path);
  // Closes the file. What it holds is complete only if close() returned before.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // The number of bytes that were appended.
  std::uint64_t size() const noexcept { return size_; }

  void append(const void* from, std::size_t bytes);
  // Replaces bytes that were appended before.
  void replace(std::uint64_t offset, const void* from, std::size_t bytes);
  // Some file systems report only here that they could not store the bytes.
  void close();

 private:
  void write(std::uint64_t offset, const void* from, std::size_t bytes);
  [[noreturn]] void fail(int reason) const;

  std::string path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace torchclip::core
