// What a GPU needs: the driver, libtorch's CUDA library, and libtorchclip_cuda with torchclip's own kernels
// (native/cuda). They are opened on first use; nothing is linked with them.
#pragma once

#include <memory>
#include <string>

#include "backend/cuda_table.h"

namespace torchclip::core {

class GpuModel;
struct GpuModelSource;

// Opens libtorch_cuda of the libtorch that is used, once per process. Returns an empty text if CUDA devices can be
// used, otherwise the reason and what to install. Call it before anything asks libtorch about CUDA, because libtorch
// remembers its first answer.
const std::string& cuda_problem();
// The number of usable CUDA devices.
int cuda_device_count();

// torchclip's own CUDA library, or null if it is not installed, cannot be loaded (`fast_cuda_problem` then says why),
// or CUDA is not available.
const torchclip_cuda_table* cuda_table();
const std::string& fast_cuda_problem();

// Returns null if that library is not available; TorchScript then runs on the GPU.
std::unique_ptr<GpuModel> make_cuda_model(const GpuModelSource& source);
// Releases the memory that the library holds cached on all devices.
void free_cuda_cache();

}  // namespace torchclip::core
