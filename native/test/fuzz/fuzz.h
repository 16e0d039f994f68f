// What every harness does: work on the bytes, in which an Error of the core is an answer and everything else a finding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "runtime/error.h"

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

}  // namespace torchclip::fuzz
