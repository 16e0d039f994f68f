// Checks whether the code in an artifact is the code that torchclip generates from its settings.
#pragma once

#include <string>

namespace torchclip::core {

// Compiles the code of the file without running it, compiles the code that the settings generate, and compares the
// canonical graph of each method. torchclip never runs the file's code, but other programs (Python, Triton) do. Throws
// Error(E_MODEL_UNSAFE) with the first method that differs, Error(E_MODEL_CORRUPT) if the file cannot be read, and
// Error(E_ARGUMENT) for a third-party export, which has no settings to compare with.
void verify_artifact(const std::string& path);

}  // namespace torchclip::core
