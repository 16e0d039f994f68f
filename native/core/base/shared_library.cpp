#include "base/shared_library.h"

#include <dlfcn.h>

#include <filesystem>

namespace torchclip::core {

void* open_library(const std::string& file, Symbols symbols, std::string& problem) {
  void* library = dlopen(file.c_str(), RTLD_NOW | (symbols == Symbols::global ? RTLD_GLOBAL : RTLD_LOCAL));
  if (library) return library;
  const char* text = dlerror();
  problem = text ? text : file + " does not load";
  return nullptr;
}

void* library_function(void* library, const char* name) { return dlsym(library, name); }

std::string own_folder() {
  Dl_info here{};
  if (!dladdr(reinterpret_cast<const void*>(&own_folder), &here) || !here.dli_fname) return {};
  std::error_code ignored;
  return std::filesystem::absolute(here.dli_fname, ignored).parent_path().string();
}

}  // namespace torchclip::core
