#include "model/torch_library.h"

#include <filesystem>
#include <fstream>
#include <mutex>

#include "base/error.h"
#include "base/platform_library.h"

namespace torchclip::core {
namespace {

constexpr const char* kRemedy =
    "To install libtorch and torchclip's backend for it: npx torchclip setup torch; in a clone of the repository: npm "
    "run build";

// The folder that the build of the backend recorded.
std::string recorded_libtorch(const std::filesystem::path& backend) {
  const auto record = backend.parent_path() / kLibtorchRecord;
  std::ifstream file(record);
  std::string folder;
  std::getline(file, folder);
  if (folder.empty()) {
    throw Error(TORCHCLIP_E_ADDON,
                "no folder of libtorch is known: neither TORCHCLIP_LIBTORCH nor " + record.string() + " names one");
  }
  return folder;
}

void open_part(const std::string& libtorch, const char* name) {
  const auto file = std::filesystem::absolute(libtorch) / "lib" / (std::string("lib") + name + kLibrarySuffix);
  std::string problem;
  if (!open_library(file.string(), Symbols::local, problem)) {
    throw Error(TORCHCLIP_E_ADDON, "a library of libtorch does not load: " + problem);
  }
}

}  // namespace

TorchLibrary open_torch(const BackendPlaces& places) {
  const auto backend = find_backend(places, "torchclip_torch");
  TorchLibrary library;
  library.libtorch = places.libtorch.empty() ? recorded_libtorch(backend) : places.libtorch;
  open_part(library.libtorch, "c10");
  open_part(library.libtorch, "torch_cpu");
  const auto& header = open_backend(backend, TORCHCLIP_TORCH_ENTRY, sizeof(torchclip_torch_table));
  library.table = reinterpret_cast<const torchclip_torch_table*>(&header);
  return library;
}

const TorchLibrary& torch_library(const std::string& feature) {
  static std::mutex mutex;
  static TorchLibrary opened;
  std::lock_guard lock(mutex);
  if (opened.table) return opened;
  try {
    opened = open_torch(backend_places());
  } catch (const Error& e) {
    throw Error(e.status(), feature + " needs libtorch, and " + e.what() + ". " + kRemedy);
  }
  return opened;
}

}  // namespace torchclip::core
