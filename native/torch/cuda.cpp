#include "model/gpu_library.h"

#include <dlfcn.h>

#include <filesystem>

#include "libtorch.h"
#include "model/gpu_model.h"

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

struct OwnHalf {
  const CudaFunctions* functions = nullptr;
  std::string problem;
};

OwnHalf load_own() {
  if (!cuda_problem().empty()) return {nullptr, cuda_problem()};
  // By its bare name: the rpath of whoever holds this code leads to its own folder, where the CUDA half lies too.
  constexpr const char* kName = "libtorchclip_cuda.so";
  void* library = dlopen(kName, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const auto why = last_dl_error();
    if (why.rfind(std::string(kName) + ": cannot open shared object file", 0) == 0) {
      return {nullptr, "this torchclip is built without its CUDA kernels; build it with TORCHCLIP_CUDA=1"};
    }
    return {nullptr, "torchclip's CUDA kernels do not load (" + why + ")"};
  }
  const auto entry = reinterpret_cast<CudaEntry>(dlsym(library, kCudaEntry));
  const auto* functions = entry ? entry(TORCHCLIP_VERSION) : nullptr;
  if (!functions) return {nullptr, std::string(kName) + " is of another version; build both anew"};
  return {functions, {}};
}

const OwnHalf& own_half() {
  static const OwnHalf half = load_own();
  return half;
}

}  // namespace

const CudaFunctions* cuda_functions() { return own_half().functions; }

const std::string& fast_cuda_problem() { return own_half().problem; }

std::unique_ptr<GpuModel> make_cuda_model(const GpuModelSource& source) {
  const auto* functions = cuda_functions();
  return std::unique_ptr<GpuModel>(functions ? functions->make_model(source) : nullptr);
}

void free_cuda_cache() {
  if (const auto* functions = cuda_functions()) functions->free_cache();
}

const std::string& cuda_problem() {
  static const std::string problem = load();
  return problem;
}

int cuda_device_count() { return cuda_problem().empty() ? static_cast<int>(torch::cuda::device_count()) : 0; }

}  // namespace torchclip::core
