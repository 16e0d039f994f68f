// Libraries that are opened while the program runs.
#pragma once

#include <string>

namespace torchclip::core {

// The reason why dlopen() or dlsym() failed last.
std::string library_error();

// Opens a library of torchclip by its bare name: the rpath of the file that holds this code leads to its own folder,
// where the others lie. Null where that fails; `problem` then says why.
void* open_library(const char* name, std::string& problem);

// The address of a function, or null.
void* library_function(void* library, const char* name);

// A library of torchclip whose entry point entry(version) gives a table of functions to callers of its own version.
template <typename Functions>
struct FunctionLibrary {
  const Functions* functions = nullptr;
  std::string problem;  // Why it does not open; empty without functions: it is of another version.
};

template <typename Functions>
FunctionLibrary<Functions> open_functions(const char* name, const char* entry) {
  using Entry = const Functions* (*)(const char* version);
  FunctionLibrary<Functions> library;
  void* handle = open_library(name, library.problem);
  const auto found = reinterpret_cast<Entry>(library_function(handle, entry));
  if (found) library.functions = found(TORCHCLIP_VERSION);
  return library;
}

}  // namespace torchclip::core
