// libtorch's CUDA half, loaded when it is first asked for.
#pragma once

#include <string>

namespace torchclip::core {

// Loads libtorch_cuda from the folder of the libtorch_cpu in use, once a process. Empty where CUDA devices can be
// used; else why not, and what to install. Call it before anything asks libtorch about CUDA: libtorch remembers the
// first answer.
const std::string& cuda_problem();

}  // namespace torchclip::core
