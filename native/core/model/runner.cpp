#include "model/runner.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "linalg/thread_pool.h"
#include "model/artifact/artifact.h"
#include "model/cpu/shared_tower.h"
#include "model/device.h"
#include "model/generic_runner.h"
#include "model/gpu_library.h"
#include "model/gpu_model.h"
#include "model/torch_library.h"

namespace torchclip::core {
namespace {

constexpr const char* kFp8 = "fp8";

// "auto" is fp32. fp8 is bf16 but for the products of blocks, which the kernels of a GPU compute.
Precision precision_named(const std::string& name) {
  if (name == "auto") return Precision::fp32;
  if (name == kFp8) return Precision::bf16;
  for (const auto precision : {Precision::fp32, Precision::bf16, Precision::fp16, Precision::int8}) {
    if (name == name_of(precision)) return precision;
  }
  throw Error(TORCHCLIP_E_ARGUMENT, "precision must be auto, fp32, bf16, fp16, int8 or fp8, not \"" + name + "\"");
}

// What TorchScript and the GPU do instead of int8.
Precision float_precision(Precision precision) { return precision == Precision::int8 ? Precision::fp32 : precision; }

void normalize_rows(float* out, std::int64_t rows, std::int64_t dim) {
  for (std::int64_t r = 0; r < rows; ++r, out += dim) {
    double squares = 0;
    for (std::int64_t i = 0; i < dim; ++i) squares += static_cast<double>(out[i]) * out[i];
    const auto norm = static_cast<float>(std::sqrt(squares));
    for (std::int64_t i = 0; i < dim; ++i) out[i] /= norm;
  }
}

// What needs libtorch, for the message where it is missing.
std::string generic_feature(const RunnerOptions& options, const ModelInfo& info) {
  if (info.third_party) return "a third-party TorchScript export";
  if (options.generic) return "the generic runner (TorchScript)";
  return "this model, which has a tower that torchclip has no kernels of its own for (TorchScript),";
}

void check_trust(const std::string& path, bool third_party, bool trusted) {
  if (!third_party || trusted) return;
  throw Error(TORCHCLIP_E_MODEL_UNSAFE,
              path +
                  " runs TorchScript code of its own, which can read and write any file of yours. Where you trust "
                  "its author: load(path, { trustCode: true }), --trust-code, or trust_code in C. Safer: import the "
                  "weights themselves (safetensors or a state dict)");
}

}  // namespace

// A tower runs in one of three ways: by the CPU's kernels (image, text), on a GPU (gpu), or by TorchScript (generic).
struct Runner::State {
  explicit State(const RunnerOptions& options)
      : device(choose_device(options.device, info.device_note)),
        precision(precision_named(options.precision)),
        fp8(options.precision == kFp8),
        threads(thread_count(options.threads)),
        images(options.towers != TowerChoice::text),
        texts(options.towers != TowerChoice::image) {}

  ModelInfo info;
  Device device;
  Precision precision;  // as asked for
  bool fp8;             // E4M3 products
  int threads;
  std::unique_ptr<PixelTable> table;

  bool images, texts;                       // The towers that are loaded.
  std::unique_ptr<ThreadPool> pool;         // made when it is first needed
  std::shared_ptr<const ImageTower> image;  // on the CPU
  std::shared_ptr<const TextTower> text;
  Arena arena;  // of the towers on the CPU
  std::unique_ptr<GpuModel> gpu;
  std::unique_ptr<GenericRunner> generic;

  ThreadPool& thread_pool() {
    if (!pool) pool = std::make_unique<ThreadPool>(threads);
    return *pool;
  }
  Context context() { return {*kernels(), thread_pool()}; }
  bool fast_images() const { return image || (gpu && gpu->has_images()); }
  bool fast_texts() const { return text || (gpu && gpu->has_texts()); }
  bool generic_images() const { return images && !fast_images(); }
  bool generic_texts() const { return texts && !fast_texts(); }
  void need_images() const {
    if (!images) throw Error(TORCHCLIP_E_ARGUMENT, "the model was loaded without its image tower");
  }
  // What is to be done for a call of the GPU, if anything.
  Runner::Rest rest_of(std::uint64_t call) {
    if (call == 0) return {};
    return [this, call] { gpu->finish_call(call); };
  }
  void check_ids(const std::int32_t* ids, std::int64_t rows, std::int32_t length) const {
    for (std::int64_t i = 0; i < rows * length; ++i) {
      if (ids[i] >= 0 && ids[i] < info.vocab_size) continue;
      throw Error(TORCHCLIP_E_ARGUMENT, "token id " + std::to_string(ids[i]) + " of text " +
                                            std::to_string(i / length) + " is outside the vocabulary (" +
                                            std::to_string(info.vocab_size) + ")");
    }
  }
  void need_texts() const {
    if (!texts) throw Error(TORCHCLIP_E_ARGUMENT, "the model was loaded without its text tower");
  }

  void read_config(const Artifact& artifact);
  void check_fp8(const RunnerOptions& options) const;
  void build(const RunnerOptions& options, const Artifact& artifact);
  void build_on_cpu(const Artifact& artifact);
  void build_on_gpu(const RunnerOptions& options, const Artifact& artifact);
  void build_generic(const RunnerOptions& options, const Artifact& artifact);
};

void Runner::State::read_config(const Artifact& artifact) {
  const auto& config = artifact.config();
  info.image_size = static_cast<std::int32_t>(config.image_size);
  info.context_length = static_cast<std::int32_t>(config.context_length);
  info.embed_dim = static_cast<std::int32_t>(config.embed_dim);
  info.pooled_dim = static_cast<std::int32_t>(config.image.pooled_dim);
  info.vocab_size = static_cast<std::int32_t>(config.vocab_size);
  info.transform = config.transform;
  info.pad_id = static_cast<std::int32_t>(config.pad_id);
  info.trims = config.text_trims;
  info.third_party = config.third_party;
  info.extra = {{"torchclip.json", artifact.config_json()}, {"tokenizer.json", artifact.tokenizer_json()}};
  table = std::make_unique<PixelTable>(config.mean.data(), config.std.data());
}

void Runner::State::build(const RunnerOptions& options, const Artifact& artifact) {
  if (fp8) check_fp8(options);
  if (!info.third_party) {
    info.logit_scale = std::exp(artifact.scalar("logit_scale"));
    if (artifact.config().sigmoid) info.logit_bias = artifact.scalar("logit_bias");
    if (!options.generic && (device.cuda || options.make_model)) {
      build_on_gpu(options, artifact);
    } else if (!options.generic) {
      build_on_cpu(artifact);
    }
  }
  if (fp8 && (generic_images() || generic_texts())) {
    throw Error(TORCHCLIP_E_PRECISION, "fp8 is not possible: TorchScript computes a tower of this model on this GPU");
  }
  if (generic_images() || generic_texts()) build_generic(options, artifact);
  info.device = device.name();
  info.precision = fp8 ? kFp8 : name_of(image || text ? precision : float_precision(precision));
}

// What must be so before anything is loaded.
void Runner::State::check_fp8(const RunnerOptions& options) const {
  const auto fail = [](const std::string& why) { throw Error(TORCHCLIP_E_PRECISION, "fp8 is not possible: " + why); };
  if (!device.cuda && !options.make_model)
    fail("the model is on the CPU, which has no products of FP8; int8 is its own");
  if (info.third_party || options.generic) fail("TorchScript computes this model");
}

void Runner::State::build_on_cpu(const Artifact& artifact) {
  const auto weights = artifact.weights([this](std::int64_t count, const std::function<void(std::int64_t)>& work) {
    thread_pool().parallel_for(count, [&work](std::int64_t i) { work(i); });
  });
  const auto& config = artifact.config().json;
  const auto key = artifact.file().identity() + " " + name_of(precision) + " " + kernels()->name;
  if (images) {
    image = shared_tower<ImageTower>(
        key, [&] { return ImageTower::make(context(), precision, weights, config["image"], info.embed_dim, *table); });
  }
  if (texts) {
    text = shared_tower<TextTower>(
        key, [&] { return TextTower::make(context(), precision, weights, config["text"], info.embed_dim); });
  }
  const auto name = [](Precision of) { return std::string("fast ") + name_of(of) + " (" + kernels()->name + ")"; };
  if (image) info.image_runner = name(image->precision());
  if (text) info.text_runner = name(precision);
}

void Runner::State::build_on_gpu(const RunnerOptions& options, const Artifact& artifact) {
  const GpuModelSource source{device.index,
                              fp8 ? kFp8 : name_of(float_precision(precision)),
                              artifact.weights(),
                              artifact.config_json(),
                              info.embed_dim,
                              info.context_length,
                              info.transform,
                              *table,
                              options.deterministic,
                              images,
                              texts};
  gpu = options.make_model ? options.make_model(source) : make_cuda_model(source);
  if (gpu && gpu->has_images()) info.image_runner = "fast " + gpu->name();
  if (gpu && gpu->has_texts()) info.text_runner = "fast " + gpu->name();
}

void Runner::State::build_generic(const RunnerOptions& options, const Artifact& artifact) {
  const auto used = float_precision(precision);
  const GenericOptions generic_options{device, used, threads, options.deterministic, generic_images(), generic_texts()};
  generic =
      std::make_unique<GenericRunner>(torch_table(generic_feature(options, info)), artifact, *table, generic_options);
  if (info.third_party) info.logit_scale = generic->logit_scale();
  const auto name = std::string("generic ") + name_of(used) + " (TorchScript)";
  if (generic_images()) info.image_runner = name;
  if (generic_texts()) info.text_runner = name;
}

std::int32_t ModelInfo::dim_of(ImageOutput output) const {
  if (output == ImageOutput::embedding) return embed_dim;
  if (pooled_dim > 0) return pooled_dim;
  throw Error(
      TORCHCLIP_E_ARGUMENT,
      "a third-party TorchScript export gives no pooled features: its encode_image returns the embedding alone");
}

std::vector<std::string> devices_of(const RunnerOptions& options) {
  if (options.device != "cuda:all") {
    return std::vector<std::string>(static_cast<std::size_t>(std::max(1, options.replicas)), options.device);
  }
  if (const auto& problem = cuda_problem(); !problem.empty()) {
    throw Error(TORCHCLIP_E_CUDA_UNAVAILABLE, "cuda:all is not available: " + problem);
  }
  const int count = cuda_device_count();
  std::vector<std::string> devices;
  devices.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) devices.push_back(Device{true, i}.name());
  return devices;
}

Runner::Runner(const std::string& path, const RunnerOptions& options) : state_(std::make_unique<State>(options)) {
  const Artifact artifact(path);
  state_->read_config(artifact);
  check_trust(path, state_->info.third_party, options.trust_code);
  try {
    state_->build(options, artifact);
  } catch (const std::exception& e) {
    const auto failure = current_failure();
    // Exceptions of the standard library have no code. An internal error of torchclip is not about the file.
    const bool has_no_code = failure.status == TORCHCLIP_E_INTERNAL && !dynamic_cast<const Error*>(&e);
    const bool about_file = failure.status == TORCHCLIP_E_MODEL_CORRUPT || has_no_code;
    if (!about_file || failure.message.rfind(path, 0) == 0) throw;
    const std::string text = failure.message.substr(0, failure.message.find('\n'));
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, path + " is not a whole torchclip artifact: " + text);
  }
}

Runner::~Runner() = default;

const ModelInfo& Runner::info() const noexcept { return state_->info; }

MemoryUse Runner::memory() const {
  const auto& s = *state_;
  MemoryUse use = s.gpu ? s.gpu->memory() : MemoryUse{};
  if (s.generic) use.weights += s.generic->bytes();
  if (s.image) use.weights += s.image->bytes();
  if (s.text) use.weights += s.text->bytes();
  use.workspace += s.arena.bytes();
  return use;
}

void Runner::encode_pixels(const std::uint8_t* pixels, std::int64_t rows, float* out, bool normalize, Cancel cancel,
                           ImageOutput output) {
  auto& s = *state_;
  s.need_images();
  const std::int64_t dim = s.info.dim_of(output);
  if (s.image) {
    s.image->encode(s.context(), s.arena, pixels, output, Matrix::dense(out, rows, dim), cancel);
  } else if (s.fast_images()) {
    return s.gpu->encode_pixels(pixels, rows, output, out, normalize, cancel);
  } else {
    s.generic->encode_pixels(pixels, rows, output, out, cancel);
  }
  if (normalize) normalize_rows(out, rows, dim);
}

Runner::Rest Runner::begin_pixels(const std::uint8_t* pixels, std::int64_t rows, float* out, bool normalize,
                                  const Rest& begun, Cancel cancel, ImageOutput output) {
  auto& s = *state_;
  s.need_images();
  if (s.image || !s.fast_images()) {
    encode_pixels(pixels, rows, out, normalize, cancel, output);
    return {};
  }
  GpuModel::Ahead ahead{begun};
  s.gpu->encode_pixels(pixels, rows, output, out, normalize, cancel, &ahead);
  return s.rest_of(ahead.call);
}

Runner::Rest Runner::begin_tokens(const std::int32_t* ids, std::int64_t rows, std::int32_t length, float* out,
                                  bool normalize, const Rest& begun, Cancel cancel) {
  auto& s = *state_;
  s.need_texts();
  if (s.text || !s.fast_texts()) {
    encode_tokens(ids, rows, length, out, normalize, cancel);
    return {};
  }
  s.check_ids(ids, rows, length);
  GpuModel::Ahead ahead{begun};
  s.gpu->encode_tokens(ids, rows, length, out, normalize, cancel, &ahead);
  return s.rest_of(ahead.call);
}

void Runner::encode_images(const ImageInput* images, std::int64_t rows, float* out, std::uint8_t* failed,
                           bool normalize, Cancel cancel, ImageOutput output) {
  auto& s = *state_;
  s.need_images();
  if (failed) std::fill_n(failed, rows, std::uint8_t{0});
  for (std::int64_t r = 0; r < rows && !failed; ++r) {
    if (images[r].encoded) throw Error(TORCHCLIP_E_ARGUMENT, "encoded images need room for what fails");
  }
  if (s.gpu && s.gpu->has_images()) {
    return s.gpu->encode_images(images, rows, output, out, failed, normalize, cancel);
  }
  const auto size = static_cast<std::size_t>(s.info.image_size), bytes = size * size * 3;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(rows) * bytes);
  s.thread_pool().parallel_for(rows, [&](std::int64_t r) {
    if (images[r].encoded) {
      failed[r] = 1;
    } else {
      preprocess(images[r].image, s.info.transform, pixels.data() + static_cast<std::size_t>(r) * bytes);
    }
  });
  encode_pixels(pixels.data(), rows, out, normalize, cancel, output);
}

void Runner::encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int32_t length, float* out, bool normalize,
                           Cancel cancel) {
  auto& s = *state_;
  s.need_texts();
  s.check_ids(ids, rows, length);
  if (s.text) {
    s.text->encode(s.context(), s.arena, ids, length, Matrix::dense(out, rows, s.info.embed_dim), cancel);
  } else if (s.fast_texts()) {
    return s.gpu->encode_tokens(ids, rows, length, out, normalize, cancel);
  } else {
    s.generic->encode_tokens(ids, rows, length, out, cancel);
  }
  if (normalize) normalize_rows(out, rows, s.info.embed_dim);
}

}  // namespace torchclip::core
