#include "test_table.h"

#include <memory>

#include "backend/edge.h"
#include "table.h"
#include "test_device.h"

namespace torchclip::cuda {
namespace {

TestDevice next_device;

int32_t make_model_on_test_device(const torchclip_cuda_source* source, torchclip_cuda_model** model,
                                  torchclip_backend_error* error) {
  return core::guarded(error, [&] {
    TestDevice how = next_device;
    how.tune = tunes(*source);
    *model = model_on(test_device(how), *source);
  });
}

std::weak_ptr<SharedDevice> rows_device;

int32_t make_rows_on_test_device(int32_t index, int64_t dim, torchclip_cuda_rows** rows,
                                 torchclip_backend_error* error) {
  return core::guarded(error, [&] {
    if (index != 0) throw core::Error(TORCHCLIP_E_CUDA_UNAVAILABLE, "the tests have one device");
    const auto device = std::make_shared<SharedDevice>(test_device(next_device));
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

const torchclip_cuda_table& test_table(const TestDevice& how) {
  static const torchclip_cuda_table table = made_table();
  next_device = how;
  return table;
}

bool has_test_rows() { return !rows_device.expired(); }

}  // namespace torchclip::cuda
