#include "base/platform_library.h"

#if defined(_WIN32)
#include "base/platform_windows.h"
#else
#include <dlfcn.h>
#endif

#include <filesystem>
#include <system_error>

namespace torchclip::core {

#if defined(_WIN32)

void* open_library(const std::string& file, Symbols, std::string& problem) {
  const std::filesystem::path path = path_of(file);
  // What a library needs is looked for beside it, not beside the program.
  const DWORD flags = path.is_absolute() ? LOAD_WITH_ALTERED_SEARCH_PATH : 0;
  const HMODULE library = LoadLibraryExW(path.wstring().c_str(), nullptr, flags);
  if (!library) problem = file + ": " + std::system_category().message(static_cast<int>(GetLastError()));
  return library;
}

void* library_function(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}

std::string own_folder() {
  constexpr DWORD kFlags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
  constexpr DWORD kLongestPath = 32768;
  HMODULE module = nullptr;
  if (!GetModuleHandleExW(kFlags, reinterpret_cast<LPCWSTR>(&own_folder), &module)) return {};
  std::wstring file(kLongestPath, L'\0');
  file.resize(GetModuleFileNameW(module, file.data(), kLongestPath));
  if (file.empty()) return {};
  const std::u8string folder = std::filesystem::path(file).parent_path().u8string();
  return {folder.begin(), folder.end()};
}

#else

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

#endif

}  // namespace torchclip::core
