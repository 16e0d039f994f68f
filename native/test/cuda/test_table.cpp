#include "test_table.h"

#include "backend/edge.h"
#include "table.h"
#include "test_device.h"

namespace torchclip::cuda {
namespace {

std::uint64_t limit = UINT64_MAX;
bool has_fp8 = true;

int32_t make_model_on_test_device(const torchclip_cuda_source* source, torchclip_cuda_model** model,
                                  torchclip_backend_error* error) {
  return core::guarded(error, [&] { *model = model_on(test_device(limit, has_fp8), *source); });
}

torchclip_cuda_table made_table() {
  auto table = model_table();
  table.make_model = make_model_on_test_device;
  return table;
}

}  // namespace

const torchclip_cuda_table& test_table(std::uint64_t bytes, bool fp8) {
  static const torchclip_cuda_table table = made_table();
  limit = bytes;
  has_fp8 = fp8;
  return table;
}

}  // namespace torchclip::cuda
