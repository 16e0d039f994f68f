// What libtorchclip_cuda shows: one function that gives its table.
#include <map>
#include <mutex>

#include "backend/edge.h"
#include "gpu.h"
#include "search.h"
#include "table.h"

namespace torchclip::cuda {
namespace {

int32_t make_model_on_gpu(const torchclip_cuda_source* source, torchclip_cuda_model** model,
                          torchclip_backend_error* error) {
  return core::guarded(error,
                       [&] { *model = model_on(make_gpu(source->device, source->deterministic == 0), *source); });
}

// libtorch's allocator keeps the freed memory of a stream for that stream, which ends with its model.
void destroy_model_on_gpu(torchclip_cuda_model* model) {
  model_table().destroy_model(model);
  free_all_caches();
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

int32_t similarity_on(int32_t device, const float* a, int64_t a_rows, const float* b, int64_t b_rows, int32_t dim,
                      float* out, torchclip_backend_error* error) {
  return core::guarded(error,
                       [&] { with_device(device, [&](Device& d) { similarity(d, a, a_rows, b, b_rows, dim, out); }); });
}

int32_t top_k_on(int32_t device, const float* queries, int64_t query_rows, const float* base, int64_t base_rows,
                 int32_t dim, int32_t k, int32_t* indices, float* scores, torchclip_backend_error* error) {
  return core::guarded(error, [&] {
    with_device(device, [&](Device& d) { top_k(d, queries, query_rows, base, base_rows, dim, k, indices, scores); });
  });
}

torchclip_cuda_table table_of_gpus() {
  auto table = model_table();
  table.make_model = make_model_on_gpu;
  table.destroy_model = destroy_model_on_gpu;
  table.free_cache = free_all_caches;
  table.similarity = similarity_on;
  table.top_k = top_k_on;
  return table;
}

}  // namespace
}  // namespace torchclip::cuda

extern "C" __attribute__((visibility("default"))) const torchclip_cuda_table* torchclip_cuda(void) {
  static const torchclip_cuda_table table = torchclip::cuda::table_of_gpus();
  return &table;
}
