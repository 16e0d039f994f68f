#include "base/shared_library.h"

#include <dlfcn.h>

namespace torchclip::core {

std::string library_error() {
  const char* text = dlerror();
  return text ? text : "unknown error";
}

void* open_library(const char* name, std::string& problem) {
  void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library) problem = library_error();
  return library;
}

void* library_function(void* library, const char* name) { return library ? dlsym(library, name) : nullptr; }

}  // namespace torchclip::core
