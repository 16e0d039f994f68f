#include "runtime/cuda_library.h"

#include <dlfcn.h>

#include <filesystem>

#include "model/torch.h"

namespace torchclip::core {
namespace {

std::string last_dl_error() {
  const char* text = dlerror();
  return text ? text : "unknown error";
}

std::string load() {
  Dl_info here{};
  // Any symbol of libtorch_cpu tells where it lies.
  if (!dladdr(reinterpret_cast<const void*>(&at::get_cpu_capability), &here)) return "libtorch was not found";
  const auto folder = std::filesystem::path(here.dli_fname).parent_path();
  const auto library = folder / "libtorch_cuda.so";
  std::error_code ignored;
  if (!std::filesystem::exists(library, ignored)) return "this libtorch is built without CUDA";
  // Asked first: without a driver the gigabytes of libtorch_cuda need not be mapped.
  if (!dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL)) {
    return "no NVIDIA driver was found (" + last_dl_error() + "); install the driver of your GPU";
  }
  if (!dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL)) {
    return "libtorch's CUDA half does not load (" + last_dl_error() +
           "); install the NVIDIA packages that this libtorch names (pip install torch brings them)";
  }
  if (!torch::cuda::is_available()) {
    return "the driver offers no CUDA device to libtorch " TORCH_VERSION
           "; check that nvidia-smi lists the GPU and that the driver is new enough";
  }
  return {};
}

}  // namespace

const std::string& cuda_problem() {
  static const std::string problem = load();
  return problem;
}

}  // namespace torchclip::core
