#include "table.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/edge.h"
#include "base/copied_text.h"
#include "base/json.h"
#include "model.h"

struct torchclip_cuda_model {
  std::unique_ptr<torchclip::cuda::Model> model;
};

struct torchclip_cuda_rows {
  std::shared_ptr<torchclip::cuda::SharedDevice> device;
  std::unique_ptr<torchclip::cuda::ResidentRows> rows;  // Freed before its device.
};

namespace torchclip::cuda {
namespace {

core::Tensor tensor_of(const torchclip_cuda_source& source, const std::string& name) {
  torchclip_floats found{};
  core::call(source.take_tensor, source.context, name.c_str(), &found);
  if (!found.values) return {};
  const auto release = [context = source.context, give_back = source.release_tensor](const void* owner) {
    give_back(context, const_cast<void*>(owner));
  };
  const std::shared_ptr<const void> keep(static_cast<const void*>(found.owner), release);
  return {found.values, {found.shape, found.shape + found.axes}, keep};
}

core::Transform transform_of(const torchclip_transform& from) {
  core::Transform transform;
  transform.size = from.size;
  transform.resize = static_cast<core::Resize>(from.resize);
  transform.filter = static_cast<core::Filter>(from.filter);
  transform.fill = static_cast<std::uint8_t>(from.fill);
  transform.resized = from.resized;
  transform.crop = static_cast<core::Crop>(from.crop);
  return transform;
}

void destroy_model(torchclip_cuda_model* model) { delete model; }

void model_info(const torchclip_cuda_model* model, torchclip_cuda_model_info* info) {
  info->has_images = model->model->has_images();
  info->has_texts = model->model->has_texts();
  core::copy_text(info->name, sizeof info->name, model->model->name());
}

void model_memory(const torchclip_cuda_model* model, uint64_t* weights, uint64_t* workspace) {
  const auto use = model->model->memory();
  *weights = use.weights;
  *workspace = use.workspace;
}

void model_counts(const torchclip_cuda_model* model, torchclip_cuda_counts* to) {
  const auto counts = model->model->counts();
  to->graphs = counts.graphs.captured;
  to->replays = counts.graphs.replayed;
  to->refused_graphs = counts.graphs.refused;
  to->timed_gemms = counts.timed_gemms;
  to->reserved = counts.reserved_bytes;
  core::copy_text(to->graph_problem, sizeof to->graph_problem, counts.graphs.problem);
}

template <typename Work>
int32_t guarded_encode(torchclip_backend_error* error, const torchclip_encode_options* options, Work&& work) {
  const auto call = [&](Cancel cancel) {
    if (options->call) *options->call = 0;
    work(EncodeOptions{options->normalize != 0, cancel, static_cast<core::ImageOutput>(options->output), options->call,
                       options->begun, options->context});
  };
  return core::guarded_encode(error, options, call);
}

int32_t encode_pixels(torchclip_cuda_model* model, const uint8_t* pixels, int64_t rows,
                      const torchclip_encode_options* options, float* out, torchclip_backend_error* error) {
  return guarded_encode(error, options,
                        [&](const EncodeOptions& how) { model->model->encode_pixels(pixels, rows, out, how); });
}

int32_t encode_images(torchclip_cuda_model* model, const torchclip_image* images, int64_t rows,
                      const torchclip_encode_options* options, float* out, uint8_t* failed,
                      torchclip_backend_error* error) {
  return guarded_encode(error, options,
                        [&](const EncodeOptions& how) { model->model->encode_images(images, rows, out, failed, how); });
}

int32_t encode_tokens(torchclip_cuda_model* model, const int32_t* ids, int64_t rows, int64_t length,
                      const torchclip_encode_options* options, float* out, torchclip_backend_error* error) {
  return guarded_encode(error, options,
                        [&](const EncodeOptions& how) { model->model->encode_tokens(ids, rows, length, out, how); });
}

int32_t finish_call(torchclip_cuda_model* model, uint64_t call, torchclip_backend_error* error) {
  return core::guarded(error, [&] { model->model->finish_call(call); });
}

void destroy_rows(torchclip_cuda_rows* rows) { delete rows; }

int32_t add_rows(torchclip_cuda_rows* rows, const float* values, int64_t count, torchclip_backend_error* error) {
  return core::guarded(error, [&] { rows->device->use([&](Device&) { rows->rows->add(values, count); }); });
}

int32_t search_rows(torchclip_cuda_rows* rows, const torchclip_cuda_query* query, int32_t* indices, float* scores,
                    torchclip_backend_error* error) {
  return core::guarded(error, [&] {
    core::require_whole(*query);
    const ResidentQuery asked{query->values, query->count, query->k, query->allowed, query->allowed_rows};
    rows->device->use([&](Device&) { rows->rows->search(asked, indices, scores); });
  });
}

void rows_counts(const torchclip_cuda_rows* rows, torchclip_cuda_rows_counts* to) {
  to->bytes = rows->rows->bytes();
  to->prefiltered = rows->rows->counts().prefiltered;
  to->scanned = rows->rows->counts().scanned;
}

}  // namespace

bool tunes(const torchclip_cuda_source& source) { return source.deterministic == 0; }

torchclip_cuda_rows* rows_on(std::shared_ptr<SharedDevice> device, std::int64_t dim, const ResidentOptions& how) {
  auto made = std::make_unique<torchclip_cuda_rows>();
  made->device = std::move(device);
  made->device->use([&](Device& on) { made->rows = std::make_unique<ResidentRows>(on, dim, how); });
  return made.release();
}

torchclip_cuda_model* model_on(std::unique_ptr<Device> device, const torchclip_cuda_source& source) {
  core::require_whole(source);
  const auto config = core::Json::parse(std::string_view(source.config, source.config_bytes));
  ModelSource model{source.precision,
                    [&source](const std::string& name) { return tensor_of(source, name); },
                    config,
                    source.embed_dim,
                    source.context_length,
                    transform_of(source.transform),
                    source.pixels,
                    source.deterministic != 0,
                    source.images != 0,
                    source.texts != 0};
  return new torchclip_cuda_model{make_model(std::move(device), model)};
}

torchclip_cuda_table model_table() {
  torchclip_cuda_table table{};
  table.header = {sizeof table, TORCHCLIP_TABLE_VERSION, TORCHCLIP_VERSION};
  table.destroy_model = destroy_model;
  table.model_info = model_info;
  table.model_memory = model_memory;
  table.encode_pixels = encode_pixels;
  table.encode_images = encode_images;
  table.encode_tokens = encode_tokens;
  table.model_counts = model_counts;
  table.finish_call = finish_call;
  table.destroy_rows = destroy_rows;
  table.add_rows = add_rows;
  table.search_rows = search_rows;
  table.rows_counts = rows_counts;
  return table;
}

}  // namespace torchclip::cuda
