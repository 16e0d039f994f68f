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

// What is wrong with libtorch's CUDA half; empty: nothing. Opens it.
std::string open_libtorch_cuda(const TorchLibrary& torch) {
  const auto file = std::filesystem::absolute(torch.libtorch) / "lib" / (std::string("libtorch_cuda") + kLibrarySuffix);
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return "this libtorch is built without CUDA";
  std::string problem;
  // Its symbols are global, as those of a library that a program is linked with.
  if (!open_library(file.string(), Symbols::global, problem)) {
    return "libtorch's CUDA half does not load (" + problem +
           "); install the NVIDIA packages that this libtorch names (pip install torch brings them)";
  }
  std::int32_t devices = 0;
  call(torch.table->cuda_device_count, &devices);
  if (devices > 0) return {};
  return std::string("the driver offers no CUDA device to libtorch ") + torch.table->libtorch_version +
         "; check that nvidia-smi lists the GPU and that the driver is new enough";
}

// The driver is asked for first: without one, neither libtorch nor its CUDA library need be mapped.
std::string find_cuda() {
  std::string problem;
  if (!open_library("libcuda.so.1", Symbols::local, problem)) {
    return "no NVIDIA driver was found (" + problem + "); install the driver of your GPU";
  }
  try {
    return open_libtorch_cuda(torch_library(kFeature));
  } catch (const std::exception& e) {
    return e.what();
  }
}

struct GpuLibrary {
  const torchclip_cuda_table* table = nullptr;
  std::string problem;  // With what installs it.
};

GpuLibrary open() {
  if (!cuda_problem().empty()) return {nullptr, cuda_problem()};
  try {
    const auto file = find_backend(backend_places(), "torchclip_cuda");
    const auto& header = open_backend(file, TORCHCLIP_CUDA_ENTRY, sizeof(torchclip_cuda_table));
    return {reinterpret_cast<const torchclip_cuda_table*>(&header), {}};
  } catch (const Error& e) {
    return {nullptr, e.what() + std::string(kRemedy)};
  }
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

int cuda_device_count() {
  if (!cuda_problem().empty()) return 0;
  std::int32_t count = 0;
  call(torch_table(kFeature).cuda_device_count, &count);
  return count;
}

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
