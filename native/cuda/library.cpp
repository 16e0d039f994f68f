// What libtorchclip_cuda shows: one function that gives its table.
#include <map>
#include <memory>
#include <mutex>

#include "backend/edge.h"
#include "gpu.h"
#include "search.h"
#include "shared_device.h"
#include "table.h"

namespace torchclip::cuda {
namespace {

int32_t make_model_on_gpu(const torchclip_cuda_source* source, torchclip_cuda_model** model,
                          torchclip_backend_error* error) {
  return core::guarded(error, [&] { *model = model_on(make_gpu(source->device, tunes(*source)), *source); });
}

// libtorch's allocator keeps the freed memory of a stream for that stream, which ends with its model.
void destroy_model_on_gpu(torchclip_cuda_model* model) {
  model_table().destroy_model(model);
  free_all_caches();
}

// The device for searches, made when first asked for.
std::shared_ptr<SharedDevice> search_device(int index) {
  static std::mutex mutex;
  // Never destroyed: CUDA may be gone by then.
  static auto& devices = *new std::map<int, std::shared_ptr<SharedDevice>>;
  std::lock_guard lock(mutex);
  auto& device = devices[index];
  if (!device) device = std::make_shared<SharedDevice>(make_gpu(index));
  return device;
}

int32_t similarity_on(int32_t device, const float* a, int64_t a_rows, const float* b, int64_t b_rows, int32_t dim,
                      float* out, torchclip_backend_error* error) {
  return core::guarded(
      error, [&] { search_device(device)->use([&](Device& d) { similarity(d, a, a_rows, b, b_rows, dim, out); }); });
}

int32_t top_k_on(int32_t device, const float* queries, int64_t query_rows, const float* base, int64_t base_rows,
                 int32_t dim, int32_t k, int32_t* indices, float* scores, torchclip_backend_error* error) {
  return core::guarded(error, [&] {
    search_device(device)->use(
        [&](Device& d) { top_k(d, queries, query_rows, base, base_rows, dim, k, indices, scores); });
  });
}

int32_t make_rows_on_gpu(int32_t device, int64_t dim, torchclip_cuda_rows** rows, torchclip_backend_error* error) {
  return core::guarded(error, [&] { *rows = rows_on(search_device(device), dim); });
}

void destroy_rows_on_gpu(torchclip_cuda_rows* rows) {
  model_table().destroy_rows(rows);
  free_all_caches();
}

torchclip_cuda_table table_of_gpus() {
  auto table = model_table();
  table.make_model = make_model_on_gpu;
  table.destroy_model = destroy_model_on_gpu;
  table.free_cache = free_all_caches;
  table.similarity = similarity_on;
  table.top_k = top_k_on;
  table.make_rows = make_rows_on_gpu;
  table.destroy_rows = destroy_rows_on_gpu;
  return table;
}

}  // namespace
}  // namespace torchclip::cuda

extern "C" __attribute__((visibility("default"))) const torchclip_cuda_table* torchclip_cuda(void) {
  static const torchclip_cuda_table table = torchclip::cuda::table_of_gpus();
  return &table;
}
