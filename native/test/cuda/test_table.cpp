#include "test_table.h"

#include <memory>

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

std::weak_ptr<SharedDevice> rows_device;

int32_t make_rows_on_test_device(int32_t index, int64_t dim, torchclip_cuda_rows** rows,
                                 torchclip_backend_error* error) {
  return core::guarded(error, [&] {
    if (index != 0) throw core::Error(TORCHCLIP_E_CUDA_UNAVAILABLE, "the tests have one device");
    const auto device = std::make_shared<SharedDevice>(test_device(limit));
    rows_device = device;
    ResidentOptions options;
    options.prefilter_rows = 256;
    *rows = rows_on(device, dim, options);
  });
}

torchclip_cuda_table made_table() {
  auto table = model_table();
  table.make_model = make_model_on_test_device;
  table.make_rows = make_rows_on_test_device;
  return table;
}

}  // namespace

const torchclip_cuda_table& test_table(std::uint64_t bytes, bool fp8) {
  static const torchclip_cuda_table table = made_table();
  limit = bytes;
  has_fp8 = fp8;
  return table;
}

bool has_test_rows() { return !rows_device.expired(); }

}  // namespace torchclip::cuda
