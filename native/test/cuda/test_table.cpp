#include "test_table.h"

#include "backend/edge.h"
#include "table.h"
#include "test_device.h"

namespace torchclip::cuda {
namespace {

std::uint64_t limit = UINT64_MAX;

int32_t make_model_on_test_device(const torchclip_cuda_source* source, torchclip_cuda_model** model,
                                  torchclip_backend_error* error) {
  return core::guarded(error, [&] { *model = model_on(test_device(limit), *source); });
}

torchclip_cuda_table made_table() {
  auto table = model_table();
  table.make_model = make_model_on_test_device;
  return table;
}

}  // namespace

const torchclip_cuda_table& test_table(std::uint64_t bytes) {
  static const torchclip_cuda_table table = made_table();
  limit = bytes;
  return table;
}

}  // namespace torchclip::cuda
