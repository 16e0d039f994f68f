// What every harness does: work on the bytes, in which an Error of the core is an answer and everything else a finding.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"

namespace torchclip::fuzz {

inline void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

// Whether `work` ended without an Error; any other exception ends the process.
template <typename Work>
bool accepts(Work&& work) {
  try {
    work();
    return true;
  } catch (const core::Error&) {
    return false;
  }
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A file in memory that is opened by its path.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(memfd_create("fuzz", MFD_CLOEXEC)) {}
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }
  void write(std::string_view bytes) const {
    expect(ftruncate(descriptor_, 0) == 0, "the file is emptied");
    expect(pwrite(descriptor_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()),
           "the file is written");
  }
  void shorten(std::size_t bytes) const {
    expect(ftruncate(descriptor_, static_cast<off_t>(bytes)) == 0, "the file is shortened");
  }

 private:
  int descriptor_;
};

}  // namespace torchclip::fuzz
