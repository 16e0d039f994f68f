#include "model/generic_runner.h"

#include "backend/edge.h"
#include "model/gpu_library.h"
#include "model/program_view.h"

namespace torchclip::core {
namespace {

// `context` is the artifact.
std::int32_t read_tensor(void* context, const char* name, std::uint64_t bytes, void* to,
                         torchclip_backend_error* error) {
  return guarded(error, [&] {
    const auto& artifact = *static_cast<const Artifact*>(context);
    const auto found = artifact.tensors().find(name);
    if (found == artifact.tensors().end() || found->second.bytes != bytes) {
      throw Error(TORCHCLIP_E_INTERNAL, std::string("the libtorch backend asks for ") + std::to_string(bytes) +
                                            " bytes of " + name + ", which the model does not have");
    }
    artifact.read_bytes(found->second, to);
  });
}

torchclip_torch_model c_model(const Artifact& artifact, const PixelTable& pixels) {
  const auto& config = artifact.config();
  torchclip_torch_model model{};
  model.size = sizeof model;
  model.third_party = config.third_party;
  model.file = file_view(artifact.file());
  model.context = const_cast<Artifact*>(&artifact);
  model.read_tensor = read_tensor;
  model.pixels = &pixels.value[0][0];
  model.image_size = config.image_size;
  model.embed_dim = config.embed_dim;
  model.pooled_dim = config.image.pooled_dim;
  model.pad_id = config.pad_id;
  model.trims = config.text_trims;
  return model;
}

torchclip_torch_options c_options(const GenericOptions& options) {
  torchclip_torch_options out{};
  out.size = sizeof out;
  out.cuda_device = options.device.cuda ? options.device.index : -1;
  out.precision = name_of(options.precision);
  out.threads = options.threads;
  out.deterministic = options.deterministic;
  out.free_cuda_cache = free_cuda_cache;
  return out;
}

}  // namespace

GenericRunner::GenericRunner(const torchclip_torch_table& table, const Artifact& artifact, const PixelTable& pixels,
                             const GenericOptions& options)
    : table_(table), runner_(nullptr, table.destroy_runner) {
  ProgramView visual, text;
  auto model = c_model(artifact, pixels);
  if (!artifact.config().third_party) {
    if (options.images) visual = ProgramView(artifact.config().image, artifact);
    if (options.texts) text = ProgramView(artifact.config().text, artifact);
  }
  model.visual = visual.view();
  model.text = text.view();
  const auto runner_options = c_options(options);
  torchclip_torch_runner* made = nullptr;
  call(table_.make_runner, &model, &runner_options, &made);
  runner_.reset(made);
  table_.runner_info(runner_.get(), &info_);
}

void GenericRunner::encode_pixels(const std::uint8_t* pixels, std::int64_t rows, ImageOutput output, float* out,
                                  Cancel cancel) {
  const auto options = encode_options(cancel, static_cast<std::int32_t>(output));
  call(table_.encode_pixels, runner_.get(), pixels, rows, &options, out);
}

void GenericRunner::encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int64_t length, float* out,
                                  Cancel cancel) {
  const auto options = encode_options(cancel);
  call(table_.encode_tokens, runner_.get(), ids, rows, length, &options, out);
}

}  // namespace torchclip::core
