// The CUDA halves, loaded when they are first asked for: libtorch's, then torchclip's own (native/cuda), so that this
// library links without either.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace torchclip::core {

class GpuModel;
struct GpuModelSource;

// What libtorchclip_cuda.so gives. It finds it by torchclip_cuda_functions(version), which returns null to another
// version's caller.
struct CudaFunctions {
  GpuModel* (*make_model)(const GpuModelSource& source);
  void (*free_cache)();  // gives cached memory of all devices back
  // As search/top_k.h, on device N; k <= 1,024.
  void (*similarity)(int device, const float* a, std::int64_t a_rows, const float* b, std::int64_t b_rows,
                     std::int32_t dim, float* out);
  void (*top_k)(int device, const float* queries, std::int64_t query_rows, const float* base, std::int64_t base_rows,
                std::int32_t dim, std::int32_t k, std::int32_t* indices, float* scores);
};
constexpr const char* kCudaEntry = "torchclip_cuda_functions";
using CudaEntry = const CudaFunctions* (*)(const char* version);

// Loads libtorch_cuda from the folder of the libtorch_cpu in use, once a process. Empty where CUDA devices can be
// used; else why not, and what to install. Call it before anything asks libtorch about CUDA: libtorch remembers the
// first answer.
const std::string& cuda_problem();
// How many CUDA devices can be used.
int cuda_device_count();

// torchclip's own half, or null: not built, not loadable (then `fast_cuda_problem` says why), or no CUDA at all.
const CudaFunctions* cuda_functions();
const std::string& fast_cuda_problem();

// Null where there is no such half: TorchScript then runs on the GPU.
std::unique_ptr<GpuModel> make_cuda_model(const GpuModelSource& source);
void free_cuda_cache();

}  // namespace torchclip::core
