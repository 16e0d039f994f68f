// libtorch and the library libtorchclip_torch, which holds all that needs it (native/torch). They are opened when
// something first needs them, so that a process which runs torchclip's own kernels never maps libtorch.
#pragma once

#include <filesystem>
#include <string>

#include "backend/torch_table.h"
#include "model/backend_library.h"

namespace torchclip::core {

struct TorchLibrary {
  const torchclip_torch_table* table = nullptr;
  std::string libtorch;  // The folder that holds lib/ with the libraries that were opened.
};

// Opens libc10, libtorch_cpu and the backend by their absolute paths, so that none of them needs a search path. The
// folder of libtorch is that of `places`, or the one that the build recorded in the file kLibtorchRecord beside the
// backend. Throws Error(E_ADDON) with what is missing.
TorchLibrary open_torch(const BackendPlaces& places);
constexpr const char* kLibtorchRecord = "libtorchclip_torch.libtorch.txt";

// The absolute path of a library of a libtorch: "torch_cpu".
std::filesystem::path libtorch_file(const std::string& libtorch, const std::string& name);

// The library of this process, opened once. `feature` begins the message of the error and is the subject of its first
// sentence: "the generic runner". Throws Error(E_ADDON) with the feature, what is missing, and the command that
// installs it.
const TorchLibrary& torch_library(const std::string& feature);

inline const torchclip_torch_table& torch_table(const std::string& feature) { return *torch_library(feature).table; }

}  // namespace torchclip::core
