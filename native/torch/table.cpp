// The table that libtorchclip_torch gives the core, over the C++ of this folder.
#include <memory>

#include "artifact_verifier.h"
#include "backend/edge.h"
#include "backend/torch_table.h"
#include "device_rows.h"
#include "libtorch.h"
#include "script_runner.h"
#include "torchscript_export.h"
#include "trainer_table.h"

struct torchclip_torch_runner {
  torchclip::libtorch::ScriptRunner runner;
};

struct torchclip_torch_rows {
  torchclip::libtorch::DeviceRows rows;
};

namespace torchclip::libtorch {
namespace {

int32_t cuda_devices(int32_t* count, torchclip_backend_error* error) {
  return guarded(error, [&] { *count = static_cast<int32_t>(torch::cuda::device_count()); });
}

// Errors of libtorch itself have no code: the model does not fit, unless memory ran out.
torchclip_torch_runner* runner_of(const torchclip_torch_model& model, const torchclip_torch_options& options) {
  try {
    return new torchclip_torch_runner{ScriptRunner(model, options)};
  } catch (const Error&) {
    throw;
  } catch (const std::exception&) {
    const auto failure = current_failure();
    if (failure.status != TORCHCLIP_E_INTERNAL) throw;
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, failure.message);
  }
}

int32_t make_runner(const torchclip_torch_model* model, const torchclip_torch_options* options,
                    torchclip_torch_runner** runner, torchclip_backend_error* error) {
  return guarded(error, [&] {
    require_whole(*model);
    require_whole(*options);
    *runner = runner_of(*model, *options);
  });
}

void destroy_runner(torchclip_torch_runner* runner) { delete runner; }

void runner_info(const torchclip_torch_runner* runner, torchclip_torch_runner_info* info) {
  *info = runner->runner.info();
}

int32_t encode_pixels(torchclip_torch_runner* runner, const uint8_t* pixels, int64_t rows,
                      const torchclip_encode_options* options, float* out, torchclip_backend_error* error) {
  return guarded_encode(error, options, [&](Cancel cancel) {
    const auto output = static_cast<ImageOutput>(options->output);
    runner->runner.encode_pixels(pixels, rows, output, out, cancel);
  });
}

int32_t encode_tokens(torchclip_torch_runner* runner, const int32_t* ids, int64_t rows, int64_t length,
                      const torchclip_encode_options* options, float* out, torchclip_backend_error* error) {
  return guarded_encode(error, options,
                        [&](Cancel cancel) { runner->runner.encode_tokens(ids, rows, length, out, cancel); });
}

int32_t make_rows(int32_t cuda_device, const float* values, int64_t count, int32_t dim, torchclip_torch_rows** rows,
                  torchclip_backend_error* error) {
  return guarded(error, [&] { *rows = new torchclip_torch_rows{DeviceRows(cuda_device, values, count, dim)}; });
}

void destroy_rows(torchclip_torch_rows* rows) { delete rows; }

int32_t inner_products(const torchclip_torch_rows* rows, const float* queries, int64_t count, float* out,
                       torchclip_backend_error* error) {
  return guarded(error, [&] { rows->rows.inner_products(queries, count, out); });
}

int32_t verify(const torchclip_torch_code* code, torchclip_backend_error* error) {
  return guarded(error, [&] {
    require_whole(*code);
    verify_code(*code);
  });
}

int32_t probe(const torchclip_file* file, int64_t image_size, int64_t context_length, int64_t* dim,
              torchclip_backend_error* error) {
  return guarded(error, [&] { *dim = probe_export(*file, image_size, context_length); });
}

int32_t wrap(const torchclip_torch_wrapping* wrapping, torchclip_backend_error* error) {
  return guarded(error, [&] {
    require_whole(*wrapping);
    wrap_export(*wrapping);
  });
}

torchclip_torch_table table_of_libtorch() {
  torchclip_torch_table table{};
  table.header = {sizeof table, TORCHCLIP_TABLE_VERSION, TORCHCLIP_VERSION};
  table.libtorch_version = TORCH_VERSION;
  static const std::string capability = at::get_cpu_capability();
  table.cpu_capability = capability.c_str();
  table.cuda_device_count = cuda_devices;
  table.make_runner = make_runner;
  table.destroy_runner = destroy_runner;
  table.runner_info = runner_info;
  table.encode_pixels = encode_pixels;
  table.encode_tokens = encode_tokens;
  table.make_rows = make_rows;
  table.destroy_rows = destroy_rows;
  table.inner_products = inner_products;
  table.verify_code = verify;
  table.probe_export = probe;
  table.wrap_export = wrap;
  add_trainer(table);
  return table;
}

}  // namespace
}  // namespace torchclip::libtorch

extern "C" __attribute__((visibility("default"))) const torchclip_torch_table* torchclip_torch(void) {
  static const torchclip_torch_table table = torchclip::libtorch::table_of_libtorch();
  return &table;
}
