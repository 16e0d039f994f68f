#include "model/gpu_library.h"

#include <filesystem>

#include "backend/edge.h"
#include "base/platform_library.h"
#include "model/backend_library.h"
#include "model/gpu_model.h"
#include "model/torch_library.h"

namespace torchclip::core {
namespace {

constexpr const char* kFeature = "a CUDA device";
constexpr const char* kRemedy =
    "; to install torchclip's CUDA kernels: npx torchclip setup cuda; in a clone of the repository: TORCHCLIP_CUDA=1 "
    "npm run build";

struct Cuda {
  std::string problem;  // Empty: CUDA devices can be used.
  std::int32_t devices = 0;
};

// Opens libtorch's CUDA half.
Cuda open_libtorch_cuda(const TorchLibrary& torch) {
  const auto file = libtorch_file(torch.libtorch, "torch_cuda");
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return {"this libtorch is built without CUDA", 0};
  std::string problem;
  // Its symbols are global, as those of a library that a program is linked with.
  if (!open_library(file.string(), Symbols::global, problem)) {
    return {"libtorch's CUDA half does not load (" + problem +
                "); install the NVIDIA packages that this libtorch names (pip install torch brings them)",
            0};
  }
  std::int32_t devices = 0;
  call(torch.table->cuda_device_count, &devices);
  if (devices > 0) return {{}, devices};
  return {std::string("the driver offers no CUDA device to libtorch ") + torch.table->libtorch_version +
              "; check that nvidia-smi lists the GPU and that the driver is new enough",
          0};
}

// The driver is asked for first: without one, neither libtorch nor its CUDA library need be mapped.
Cuda find_cuda() {
  std::string problem;
  if (!open_library("libcuda.so.1", Symbols::local, problem)) {
    return {"no NVIDIA driver was found (" + problem + "); install the driver of your GPU", 0};
  }
  try {
    return open_libtorch_cuda(torch_library(kFeature));
  } catch (const std::exception& e) {
    return {e.what(), 0};
  }
}

const Cuda& cuda() {
  static const Cuda found = find_cuda();
  return found;
}

struct GpuLibrary {
  const torchclip_cuda_table* table = nullptr;
  std::string problem;  // With what installs it.
};

GpuLibrary open() {
  if (!cuda_problem().empty()) return {nullptr, cuda_problem()};
  try {
    const auto file = find_backend(backend_places(), "torchclip_cuda");
    return {&open_table<torchclip_cuda_table>(file, TORCHCLIP_CUDA_ENTRY), {}};
  } catch (const Error& e) {
    return {nullptr, e.what() + std::string(kRemedy)};
  }
}

const GpuLibrary& library() {
  static const GpuLibrary opened = open();
  return opened;
}

}  // namespace

const std::string& cuda_problem() { return cuda().problem; }

int cuda_device_count() { return cuda().devices; }

const torchclip_cuda_table* cuda_table() { return library().table; }

const std::string& fast_cuda_problem() { return library().problem; }

std::unique_ptr<GpuModel> make_cuda_model(const GpuModelSource& source) {
  const auto* table = cuda_table();
  return table ? std::make_unique<GpuModel>(*table, source) : nullptr;
}

void free_cuda_cache() {
  if (const auto* table = cuda_table()) table->free_cache();
}

}  // namespace torchclip::core
