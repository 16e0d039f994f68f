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

}  // namespace torchclip::core
