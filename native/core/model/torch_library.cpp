#include "model/torch_library.h"

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
  const auto file = libtorch_file(libtorch, name);
  std::string problem;
  if (!open_library(file.string(), Symbols::local, problem)) {
    throw Error(TORCHCLIP_E_ADDON, "a library of libtorch does not load: " + problem);
  }
}

}  // namespace

std::filesystem::path libtorch_file(const std::string& libtorch, const std::string& name) {
  return std::filesystem::absolute(libtorch) / "lib" / library_file(name);
}

TorchLibrary open_torch(const BackendPlaces& places) {
  const auto backend = find_backend(places, "torchclip_torch");
  TorchLibrary library;
  library.libtorch = places.libtorch.empty() ? recorded_libtorch(backend) : places.libtorch;
  open_part(library.libtorch, "c10");
  open_part(library.libtorch, "torch_cpu");
  library.table = &open_table<torchclip_torch_table>(backend, TORCHCLIP_TORCH_ENTRY);
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
