// Where the libraries of the backends lie, and how one is opened and checked (backend/backend.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace torchclip::core {

// The ends of the names of libraries: libtorchclip_torch.so, on macOS libtorchclip_torch.dylib.
#if defined(__APPLE__)
constexpr const char* kLibrarySuffix = ".dylib";
#else
constexpr const char* kLibrarySuffix = ".so";
#endif

inline std::string library_file(const std::string& name) { return "lib" + name + kLibrarySuffix; }

struct BackendPlaces {
  std::vector<std::string> folders;  // Where the backends are looked for, in this order.
  std::string libtorch;  // The folder that holds libtorch's lib/; empty: what is recorded beside the backend.
};

// Places that the program names. They are used by backends that are opened later.
void set_backend_places(BackendPlaces places);

// All places: the folder that TORCHCLIP_BACKENDS names, the program's, and the folder of torchclip.node, libtorchclip
// or the program itself. libtorch is the one that TORCHCLIP_LIBTORCH names, or the program's.
BackendPlaces backend_places();

// The path of the library `name`, "torchclip_torch". Throws Error(E_ADDON) if none of the folders holds it.
std::string find_backend(const BackendPlaces& places, const std::string& name);

// Opens a backend and returns what its function `entry` gives. Throws Error(E_ADDON) with the path and what was found
// if the library does not load, does not export the function, or its table has less than `size` bytes, is of another
// version, or belongs to another release of torchclip.
const torchclip_table_header& open_backend(const std::string& file, const char* entry, std::uint32_t size);

// Does what open_backend() does, and returns the whole table, which begins with that header.
template <typename Table>
const Table& open_table(const std::string& file, const char* entry) {
  return reinterpret_cast<const Table&>(open_backend(file, entry, sizeof(Table)));
}

}  // namespace torchclip::core
