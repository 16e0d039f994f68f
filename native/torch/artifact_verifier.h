// Checks whether the code in an artifact is the code that torchclip generates from its settings.
#pragma once

#include "backend/torch_table.h"

namespace torchclip::libtorch {

// Compiles the code of the file without running it, compiles the generated code, and compares the canonical graph of
// each method. Throws Error(E_MODEL_UNSAFE) with the first method that differs.
void verify_code(const torchclip_torch_code& code);

}  // namespace torchclip::libtorch
