// What the suites share: doctest, and helpers whose values say in a failure what went wrong.
#pragma once

#include <doctest/doctest.h>

#include <cstddef>
#include <ostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace torchclip::test {

// The arguments of the program that are no options, such as the path of an artifact.
const std::vector<std::string>& arguments();

// Says why the running test case does nothing on this machine; the test case then returns. CTest reports it as skipped.
void skip(const std::string& reason);

// How a call ended: the status and the message of its Error, or TORCHCLIP_OK.
struct Outcome {
  torchclip_status status = TORCHCLIP_OK;
  std::string message;

  bool operator==(torchclip_status expected) const { return status == expected; }
};

inline std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
  out << static_cast<int>(outcome.status);
  if (!outcome.message.empty()) out << " (" << outcome.message << ")";
  return out;
}

template <typename Work>
Outcome outcome_of(Work&& work) {
  try {
    std::forward<Work>(work)();
  } catch (const core::Error& error) {
    return {error.status(), error.what()};
  }
  return {};
}

// Where `got` differs from `expected` for the first time, in words; empty where they are equal.
template <typename Got, typename Expected>
std::string first_difference(const Got& got, const Expected& expected) {
  std::ostringstream out;
  out.precision(9);
  if (got.size() != expected.size()) {
    out << got.size() << " elements instead of " << expected.size();
    return out.str();
  }
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i] == expected[i]) continue;
    out << "element " << i << " of " << got.size() << " is " << +got[i] << " instead of " << +expected[i];
    break;
  }
  return out.str();
}

}  // namespace torchclip::test
