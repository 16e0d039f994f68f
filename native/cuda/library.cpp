// What libtorchclip_cuda.so shows: one function that gives its table (core/model/gpu_library.h).
#include <cuda_runtime.h>

#include <cstring>
#include <map>
#include <mutex>

#include "gpu.h"
#include "model.h"
#include "model/gpu_library.h"
#include "search.h"

namespace torchclip::cuda {
namespace {

core::GpuModel* make(const core::GpuModelSource& source) {
  return make_model(make_gpu(source.device), source).release();
}

// One device for searches, made when first asked for; searches of several threads take turns.
template <typename Work>
void with_device(int index, Work&& work) {
  static std::mutex mutex;
  static auto& devices = *new std::map<int, std::unique_ptr<Device>>;  // never destroyed: CUDA may be gone by then
  std::lock_guard lock(mutex);
  auto& device = devices[index];
  if (!device) device = make_gpu(index);
  try {
    work(*device);
  } catch (...) {
    for (int s = 0; s < Device::kSlots; ++s) device->finish(s);
    device->free_cache();
    throw;
  }
}

void similarity_on(int device, const float* a, std::int64_t a_rows, const float* b, std::int64_t b_rows,
                   std::int32_t dim, float* out) {
  with_device(device, [&](Device& d) { similarity(d, a, a_rows, b, b_rows, dim, out); });
}

void top_k_on(int device, const float* queries, std::int64_t query_rows, const float* base, std::int64_t base_rows,
              std::int32_t dim, std::int32_t k, std::int32_t* indices, float* scores) {
  with_device(device, [&](Device& d) { top_k(d, queries, query_rows, base, base_rows, dim, k, indices, scores); });
}

}  // namespace
}  // namespace torchclip::cuda

extern "C" __attribute__((visibility("default"))) const torchclip::core::CudaFunctions* torchclip_cuda_functions(
    const char* version) {
  using namespace torchclip;
  static const core::CudaFunctions functions{cuda::make, cuda::free_all_caches, cuda::similarity_on, cuda::top_k_on};
  return std::strcmp(version, TORCHCLIP_VERSION) == 0 ? &functions : nullptr;
}
