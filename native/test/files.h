// Temporary files of the CTest suites.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace torchclip::test {

// A file of its own, removed at the end.
class TemporaryFile {
 public:
  TemporaryFile() {
    const char* folder = std::getenv("TMPDIR");
    path_ = std::string(folder ? folder : "/tmp") + "/torchclip-test-XXXXXX";
    const int file = mkstemp(path_.data());
    if (file >= 0) close(file);
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::string& path() const { return path_; }
  void write(const std::string& bytes) const {
    std::FILE* file = std::fopen(path_.c_str(), "wb");
    std::fwrite(bytes.data(), 1, bytes.size(), file);
    std::fclose(file);
  }

 private:
  std::string path_;
};

// A .npy of version 1.0 with any header text and any bytes behind it.
inline std::string npy_file(const std::string& header, const std::string& values) {
  constexpr std::size_t kStart = 10, kAlignment = 64;
  std::string padded = header;
  padded.append((kAlignment - (kStart + header.size() + 1) % kAlignment) % kAlignment, ' ');
  padded += '\n';
  std::string file = "\x93NUMPY";
  file += {1, 0, static_cast<char>(padded.size() & 0xFF), static_cast<char>(padded.size() >> 8)};
  return file + padded + values;
}

// float32 [values / dim, dim].
inline std::string npy_file(const std::vector<float>& values, std::int64_t dim) {
  const auto rows = static_cast<std::int64_t>(values.size()) / dim;
  const std::string bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  return npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
                      std::to_string(dim) + "), }",
                  bytes);
}

}  // namespace torchclip::test
