#include "model/gpu_library.h"

#include "base/shared_library.h"
#include "model/gpu_model.h"
#include "model/torch_library.h"

namespace torchclip::core {
namespace {

// The driver is asked for first: without one, neither libtorch nor its CUDA library need be mapped.
std::string find_cuda() {
  std::string problem;
  if (!open_library("libcuda.so.1", problem)) {
    return "no NVIDIA driver was found (" + problem + "); install the driver of your GPU";
  }
  try {
    return torch_functions().load_cuda();
  } catch (const std::exception& e) {
    return e.what();
  }
}

using GpuLibrary = FunctionLibrary<CudaFunctions>;

// With the reason in words for `doctor`.
GpuLibrary open() {
  if (!cuda_problem().empty()) return {nullptr, cuda_problem()};
  constexpr const char* kName = "libtorchclip_cuda.so";
  const auto library = open_functions<CudaFunctions>(kName, kCudaEntry);
  if (library.functions) return {library.functions, {}};
  if (library.problem.empty()) return {nullptr, std::string(kName) + " is of another version; build both anew"};
  if (library.problem.rfind(std::string(kName) + ": cannot open shared object file", 0) == 0) {
    return {nullptr, "this torchclip is built without its CUDA kernels; build it with TORCHCLIP_CUDA=1"};
  }
  return {nullptr, "torchclip's CUDA kernels do not load (" + library.problem + ")"};
}

const GpuLibrary& library() {
  static const GpuLibrary opened = open();
  return opened;
}

}  // namespace

const std::string& cuda_problem() {
  static const std::string problem = find_cuda();
  return problem;
}

int cuda_device_count() { return cuda_problem().empty() ? torch_functions().cuda_device_count() : 0; }

const CudaFunctions* cuda_functions() { return library().functions; }

const std::string& fast_cuda_problem() { return library().problem; }

std::unique_ptr<GpuModel> make_cuda_model(const GpuModelSource& source) {
  const auto* functions = cuda_functions();
  return std::unique_ptr<GpuModel>(functions ? functions->make_model(source) : nullptr);
}

void free_cuda_cache() {
  if (const auto* functions = cuda_functions()) functions->free_cache();
}

}  // namespace torchclip::core
