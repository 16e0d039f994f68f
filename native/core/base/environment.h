// The environment variables of the native code are read here alone. docs/settings.md describes each of them.
#pragma once

#include <cstdlib>
#include <string>

namespace torchclip::core {

// The value of a variable; empty if it is not set.
inline std::string environment(const char* variable) {
  const char* value = std::getenv(variable);
  return value ? value : "";
}

}  // namespace torchclip::core
