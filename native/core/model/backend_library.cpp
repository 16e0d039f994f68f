#include "model/backend_library.h"

#include <algorithm>
#include <filesystem>
#include <mutex>

#include "base/environment.h"
#include "base/error.h"
#include "base/platform_library.h"

namespace torchclip::core {
namespace {

struct NamedPlaces {
  std::mutex mutex;
  BackendPlaces places;
};

NamedPlaces& named_places() {
  static NamedPlaces places;
  return places;
}

void add_folder(std::vector<std::string>& folders, const std::string& folder) {
  if (folder.empty() || std::find(folders.begin(), folders.end(), folder) != folders.end()) return;
  folders.push_back(folder);
}

void check_table(const std::string& file, const torchclip_table_header* header, std::uint32_t size) {
  const auto refuse = [&](const std::string& what) { throw Error(TORCHCLIP_E_ADDON, file + " " + what); };
  if (!header) refuse("gives no table of functions");
  if (header->version != TORCHCLIP_TABLE_VERSION) {
    refuse("has a table of version " + std::to_string(header->version) + "; this torchclip needs version " +
           std::to_string(TORCHCLIP_TABLE_VERSION));
  }
  if (header->size < size) {
    refuse("has a table of " + std::to_string(header->size) + " bytes; this torchclip needs " + std::to_string(size));
  }
  const std::string release = header->release ? header->release : "an unknown release";
  if (release != TORCHCLIP_VERSION) {
    refuse("belongs to torchclip " + release + "; this is torchclip " TORCHCLIP_VERSION);
  }
}

}  // namespace

void set_backend_places(BackendPlaces places) {
  auto& named = named_places();
  std::lock_guard lock(named.mutex);
  named.places = std::move(places);
}

BackendPlaces backend_places() {
  BackendPlaces named;
  {
    std::lock_guard lock(named_places().mutex);
    named = named_places().places;
  }
  BackendPlaces all{{}, environment("TORCHCLIP_LIBTORCH")};
  if (all.libtorch.empty()) all.libtorch = named.libtorch;
  add_folder(all.folders, environment("TORCHCLIP_BACKENDS"));
  for (const auto& folder : named.folders) add_folder(all.folders, folder);
  add_folder(all.folders, own_folder());
  return all;
}

std::string find_backend(const BackendPlaces& places, const std::string& name) {
  const std::string file = library_file(name);
  std::string tried;
  for (const auto& folder : places.folders) {
    const auto path = std::filesystem::absolute(folder) / file;
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return path.string();
    tried += (tried.empty() ? "" : ", ") + folder;
  }
  throw Error(TORCHCLIP_E_ADDON, file + " is missing (looked for in " + tried + ")");
}

const torchclip_table_header& open_backend(const std::string& file, const char* entry, std::uint32_t size) {
  std::string problem;
  void* library = open_library(file, Symbols::local, problem);
  if (!library) throw Error(TORCHCLIP_E_ADDON, "a library does not load: " + problem);
  using Entry = const torchclip_table_header* (*)(void);
  const auto function = reinterpret_cast<Entry>(library_function(library, entry));
  if (!function) {
    throw Error(TORCHCLIP_E_ADDON, file + " does not export " + entry + "(): it is no backend of this torchclip");
  }
  const auto* header = function();
  check_table(file, header, size);
  return *header;
}

}  // namespace torchclip::core
