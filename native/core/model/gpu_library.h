// The CUDA libraries, which are loaded on first use: libtorch's, then torchclip's own (native/cuda). This library
// therefore links without either.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace torchclip::core {

class GpuModel;
struct GpuModelSource;

// The functions of libtorchclip_cuda.so. The entry point torchclip_cuda_functions(version) returns null if the version
// of the caller differs.
struct CudaFunctions {
  GpuModel* (*make_model)(const GpuModelSource& source);
  void (*free_cache)();  // Releases the cached memory of all devices.
  // As in search/top_k.h, on device N; k <= 1,024.
  void (*similarity)(int device, const float* a, std::int64_t a_rows, const float* b, std::int64_t b_rows,
                     std::int32_t dim, float* out);
  void (*top_k)(int device, const float* queries, std::int64_t query_rows, const float* base, std::int64_t base_rows,
                std::int32_t dim, std::int32_t k, std::int32_t* indices, float* scores);
};
constexpr const char* kCudaEntry = "torchclip_cuda_functions";

// Loads libtorch_cuda from the folder of the loaded libtorch_cpu, once per process. Returns an empty text if CUDA
// devices can be used, otherwise the reason and what to install. Call it before anything asks libtorch about CUDA,
// because libtorch remembers its first answer.
const std::string& cuda_problem();
// The number of usable CUDA devices.
int cuda_device_count();

// torchclip's own CUDA library, or null if it was not built, cannot be loaded (`fast_cuda_problem` then says why), or
// CUDA is not available.
const CudaFunctions* cuda_functions();
const std::string& fast_cuda_problem();

// Returns null if that library is not available; TorchScript then runs on the GPU.
std::unique_ptr<GpuModel> make_cuda_model(const GpuModelSource& source);
void free_cuda_cache();

}  // namespace torchclip::core
