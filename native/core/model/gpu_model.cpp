#include "model/gpu_model.h"

#include <algorithm>
#include <vector>

#include "backend/edge.h"

namespace torchclip::core {
namespace {

torchclip_transform c_transform(const Transform& transform) {
  return {transform.size,
          static_cast<std::int32_t>(transform.resize),
          transform.resized,
          static_cast<std::int32_t>(transform.crop),
          static_cast<std::int32_t>(transform.filter),
          transform.fill};
}

// `context` is the Weights of the source.
std::int32_t take_tensor(void* context, const char* name, torchclip_floats* tensor, torchclip_backend_error* error) {
  return guarded(error, [&] {
    auto owner = std::make_unique<Tensor>((*static_cast<const Weights*>(context))(name));
    *tensor = {owner->data, owner->shape.data(), static_cast<std::uint32_t>(owner->shape.size()), nullptr};
    if (owner->data) tensor->owner = owner.release();
  });
}

void release_tensor(void*, void* owner) { delete static_cast<Tensor*>(owner); }

torchclip_cuda_source c_source(const GpuModelSource& source) {
  torchclip_cuda_source out{};
  out.size = sizeof out;
  out.device = source.device;
  out.precision = source.precision.c_str();
  out.config = source.config.data();
  out.config_bytes = source.config.size();
  out.embed_dim = source.embed_dim;
  out.context_length = source.context_length;
  out.transform = c_transform(source.transform);
  out.pixels = &source.pixels.value[0][0];
  out.deterministic = source.deterministic;
  out.images = source.images;
  out.texts = source.texts;
  out.context = const_cast<Weights*>(&source.weights);
  out.take_tensor = take_tensor;
  out.release_tensor = release_tensor;
  return out;
}

torchclip_encode_options with_ahead(torchclip_encode_options options, GpuModel::Ahead* ahead) {
  if (!ahead) return options;
  options.call = &ahead->call;
  options.begun = [](void* context) {
    if (const auto& begun = static_cast<GpuModel::Ahead*>(context)->begun) begun();
  };
  options.context = ahead;
  return options;
}

}  // namespace

GpuModel::GpuModel(const torchclip_cuda_table& table, const GpuModelSource& source)
    : table_(table), model_(nullptr, table.destroy_model) {
  const auto model_source = c_source(source);
  torchclip_cuda_model* made = nullptr;
  call(table_.make_model, &model_source, &made);
  model_.reset(made);
  table_.model_info(model_.get(), &info_);
  info_.name[sizeof info_.name - 1] = '\0';
}

MemoryUse GpuModel::memory() const {
  MemoryUse use;
  table_.model_memory(model_.get(), &use.weights, &use.workspace);
  const auto done = counts();
  use.graphs = done.graphs;
  use.refused_graphs = done.refused_graphs;
  use.graph_problem = done.graph_problem;
  return use;
}

torchclip_cuda_counts GpuModel::counts() const {
  torchclip_cuda_counts counts{};
  table_.model_counts(model_.get(), &counts);
  counts.graph_problem[sizeof counts.graph_problem - 1] = '\0';
  return counts;
}

void GpuModel::encode_pixels(const std::uint8_t* pixels, std::int64_t rows, ImageOutput output, float* out,
                             bool normalize, Cancel cancel, Ahead* ahead) {
  const auto options = with_ahead(encode_options(cancel, static_cast<std::int32_t>(output), normalize), ahead);
  call(table_.encode_pixels, model_.get(), pixels, rows, &options, out);
}

void GpuModel::encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int64_t length, float* out,
                             bool normalize, Cancel cancel, Ahead* ahead) {
  const auto options = with_ahead(encode_options(cancel, TORCHCLIP_OUTPUT_EMBEDDING, normalize), ahead);
  call(table_.encode_tokens, model_.get(), ids, rows, length, &options, out);
}

void GpuModel::finish_call(std::uint64_t number) { call(table_.finish_call, model_.get(), number); }

void GpuModel::encode_images(const ImageInput* images, std::int64_t count, ImageOutput output, float* out,
                             std::uint8_t* failed, bool normalize, Cancel cancel) {
  const auto options = encode_options(cancel, static_cast<std::int32_t>(output), normalize);
  std::vector<torchclip_image> given;
  given.reserve(static_cast<std::size_t>(count));
  std::transform(images, images + count, std::back_inserter(given), [](const ImageInput& input) -> torchclip_image {
    const auto& image = input.image;
    return {image.pixels, image.width, image.height, image.channels, input.encoded};
  });
  call(table_.encode_images, model_.get(), given.data(), count, &options, out, failed);
}

}  // namespace torchclip::core
