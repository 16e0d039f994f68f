// Libraries that are opened while the program runs. They stay open until the process ends.
#pragma once

#include <string>

namespace torchclip::core {

// Who finds the symbols of a library: the libraries that are linked with it, or all that are opened later. Windows
// knows no difference.
enum class Symbols { local, global };

// Opens a library by its absolute path, or by its bare name where the system has it. Returns null if that fails;
// `problem` then says why.
void* open_library(const std::string& file, Symbols symbols, std::string& problem);

// The address of a function, or null.
void* library_function(void* library, const char* name);

// The absolute path of the folder of the file that holds this code: torchclip.node, libtorchclip or a program.
std::string own_folder();

}  // namespace torchclip::core
