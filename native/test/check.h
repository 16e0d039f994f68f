// The few lines that the CTest suites need: CHECK counts, a test's main returns failures().
#pragma once

#include <atomic>
#include <cstdio>
#include <vector>

namespace torchclip::test {

inline std::atomic<int>& failures() {
  static std::atomic<int> count{0};
  return count;
}

inline void check(bool ok, const char* what, const char* file, int line) {
  if (ok) return;
  ++failures();
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what);
}

// Repeatable numbers in [-1, 1).
inline std::vector<float> values(std::size_t n, unsigned seed) {
  std::vector<float> v(n);
  for (auto& x : v) x = static_cast<float>((seed = seed * 1664525u + 1013904223u) >> 8) / (1 << 23) - 1.0f;
  return v;
}

// The code of the Error that `work` throws, or TORCHCLIP_OK.
template <typename Error, typename Work>
int status_of(Work&& work) {
  try {
    work();
  } catch (const Error& e) {
    return e.status();
  }
  return 0;
}

}  // namespace torchclip::test

#define CHECK(condition) torchclip::test::check((condition), #condition, __FILE__, __LINE__)
