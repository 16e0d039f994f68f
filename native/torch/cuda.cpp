#include <dlfcn.h>

#include <filesystem>

#include "base/shared_library.h"
#include "functions.h"
#include "libtorch.h"

namespace torchclip::libtorch {

std::string load_cuda() {
  Dl_info here{};
  // Any symbol of libtorch_cpu tells where it lies.
  if (!dladdr(reinterpret_cast<const void*>(&at::get_cpu_capability), &here)) return "libtorch was not found";
  const auto folder = std::filesystem::path(here.dli_fname).parent_path();
  const auto library = folder / "libtorch_cuda.so";
  std::error_code ignored;
  if (!std::filesystem::exists(library, ignored)) return "this libtorch is built without CUDA";
  if (!dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL)) {
    return "libtorch's CUDA half does not load (" + core::library_error() +
           "); install the NVIDIA packages that this libtorch names (pip install torch brings them)";
  }
  if (!torch::cuda::is_available()) {
    return "the driver offers no CUDA device to libtorch " TORCH_VERSION
           "; check that nvidia-smi lists the GPU and that the driver is new enough";
  }
  return {};
}

int cuda_device_count() { return static_cast<int>(torch::cuda::device_count()); }

}  // namespace torchclip::libtorch
