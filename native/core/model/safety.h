// What an artifact may do. A TorchScript archive is a program: torch::jit::load runs parts of it while loading,
// and calling its methods runs the rest, with operators that read and write files among those available.
#pragma once

#include <string>

namespace torchclip::core {

// Parses every source file in the archive without running any of it. Throws Error(E_MODEL_UNSAFE) where it calls
// an operator outside the allow-list of tensor operators, defines a hook such as __setstate__, or names a custom
// C++ class; Error(E_MODEL_CORRUPT) where the archive or its code cannot be read.
void check_artifact(const std::string& path);

// The same for one source text; `name` stands in messages. For tests.
void check_source(const std::string& name, const std::string& source);

}  // namespace torchclip::core
