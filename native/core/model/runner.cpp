#include "model/runner.h"

#include <cmath>
#include <thread>

#include "model/artifact/artifact.h"
#include "model/device_model.h"
#include "model/fast/shared_towers.h"
#include "model/torch.h"
#include "model/torch_module.h"
#include "runtime/cuda_library.h"
#include "runtime/error.h"

namespace torchclip::core {
namespace {

c10::Device choose_device(const std::string& wanted, std::string& note) {
  if (wanted == "cpu") return c10::kCPU;
  const bool automatic = wanted == "auto";
  if (!automatic && wanted != "cuda" && wanted.rfind("cuda:", 0) != 0) {
    throw Error(TORCHCLIP_E_ARGUMENT, "device must be auto, cpu, cuda, cuda:N or cuda:all, not \"" + wanted + "\"");
  }
  const auto& problem = cuda_problem();
  const int count = problem.empty() ? static_cast<int>(torch::cuda::device_count()) : 0;
  int index = 0;
  if (wanted.size() > 5) {
    try {
      index = std::stoi(wanted.substr(5));
    } catch (const std::exception&) {
      throw Error(TORCHCLIP_E_ARGUMENT, "device must be cuda:N with a whole number N, not \"" + wanted + "\"");
    }
  }
  if (index >= 0 && index < count) return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)};
  const std::string reason = count ? "this machine has " + std::to_string(count) + " CUDA device(s)" : problem;
  if (!automatic) throw Error(TORCHCLIP_E_CUDA_UNAVAILABLE, wanted + " is not available: " + reason);
  note = reason;
  return c10::kCPU;
}

c10::ScalarType choose_dtype(const std::string& precision) {
  // What the generic runner does instead of int8 is float32.
  if (precision == "auto" || precision == "fp32" || precision == "int8") return at::kFloat;
  if (precision == "bf16") return at::kBFloat16;
  if (precision == "fp16") return at::kHalf;
  throw Error(TORCHCLIP_E_ARGUMENT, "precision must be auto, fp32, bf16, fp16 or int8, not \"" + precision + "\"");
}

// Of the fast CPU runner; "auto" is fp32 there.
Precision precision_of(const std::string& name) {
  for (const auto precision : {Precision::bf16, Precision::fp16, Precision::int8}) {
    if (name == name_of(precision)) return precision;
  }
  return Precision::fp32;
}

const char* dtype_name(c10::ScalarType type) {
  return type == at::kBFloat16 ? "bf16" : type == at::kHalf ? "fp16" : "fp32";
}

}  // namespace

struct Runner::State {
  // The methods of towers that TorchScript runs; undefined for towers that are fast.
  std::optional<torch::jit::Method> encode_image, encode_text;
  c10::Device device = c10::kCPU;
  c10::ScalarType dtype = at::kFloat;
  ModelInfo info;
  bool deterministic = false;
  std::unique_ptr<PixelTable> table;

  std::unique_ptr<DeviceModel> model;  // of a GPU; null: none, or generic
  std::unique_ptr<Team> team;
  std::shared_ptr<const Towers> towers;  // on the CPU
  const ImageTower* image = nullptr;     // of `towers`; null: generic
  const TextTower* text = nullptr;
  Workspace workspace;
  std::string file;  // which file this is, and its state: what shared towers are known by
  std::uint64_t genericBytes = 0;

  Context context() const { return {*kernels(), *team}; }
  bool fast_images() const { return image || (model && model->has_images()); }
  bool fast_texts() const { return text || (model && model->has_texts()); }

  // Runs a method on `count` rows and writes its embeddings to `out`. What a third-party method returns is checked at
  // every call: float [count, embed_dim], or Error(E_MODEL_CORRUPT).
  void run(torch::jit::Method& method, at::Tensor input, std::int64_t count, float* out) const {
    torch::jit::GraphOptimizerEnabledGuard unoptimised(false);  // no re-specialisation for each batch size
    const auto value = method({std::move(input)});
    const std::int64_t dim = info.embed_dim;
    if (!value.isTensor() || !value.toTensor().defined() || !value.toTensor().is_floating_point() ||
        value.toTensor().sizes() != at::IntArrayRef({count, dim})) {
      throw Error(TORCHCLIP_E_MODEL_CORRUPT, "the model's method " + method.name() + " does not give float [" +
                                                 std::to_string(count) + ", " + std::to_string(dim) + "]");
    }
    const auto rows = value.toTensor().to(at::kFloat).to(c10::kCPU).contiguous();
    std::copy_n(rows.const_data_ptr<float>(), count * dim, out);
  }

  static void normalize_rows(float* out, std::int64_t rows, std::int64_t dim) {
    for (std::int64_t r = 0; r < rows; ++r, out += dim) {
      double squares = 0;
      for (std::int64_t i = 0; i < dim; ++i) squares += static_cast<double>(out[i]) * out[i];
      const auto norm = static_cast<float>(std::sqrt(squares));
      for (std::int64_t i = 0; i < dim; ++i) out[i] /= norm;
    }
  }

  void read_config(const Artifact& artifact);
  void build_fast(const RunnerOptions& options, int threads, const Artifact& artifact);
  void build_on_cpu(Precision precision, const Weights& weights, const Json& config, int threads);
  void build_generic(const Artifact& artifact);
  void build_third_party(const Artifact& artifact);

  // at::Tensor of pictures as the artifact's methods take them.
  at::Tensor input_of(const std::uint8_t* pixels, std::int64_t rows) const;
  // run(first, count) over all rows; out of memory: with half of them at a time.
  template <typename Run>
  void in_parts(std::int64_t rows, Cancel cancel, Run&& run) const;
};

void Runner::State::build_on_cpu(Precision precision, const Weights& weights, const Json& config, int threads) {
  team = std::make_unique<Team>(threads);
  towers = shared_towers(file + " " + name_of(precision) + " " + kernels()->name, [&] {
    return Towers{ImageTower::make(context(), precision, weights, config["image"], info.embed_dim, *table),
                  TextTower::make(context(), precision, weights, config["text"], info.embed_dim)};
  });
  image = towers->image.get();
  text = towers->text.get();
  const auto name = [](Precision of) { return std::string("fast ") + name_of(of) + " (" + kernels()->name + ")"; };
  if (image) info.image_runner = name(image->precision());
  if (text) info.text_runner = name(precision);
  if (!image && !text) team.reset();
}

void Runner::State::read_config(const Artifact& artifact) {
  const auto& config = artifact.config();
  info.image_size = static_cast<std::int32_t>(config.image_size);
  info.context_length = static_cast<std::int32_t>(config.context_length);
  info.embed_dim = static_cast<std::int32_t>(config.embed_dim);
  info.vocab_size = static_cast<std::int32_t>(config.vocab_size);
  info.transform = config.transform;
  info.pad_id = static_cast<std::int32_t>(config.pad_id);
  info.trims = config.text_trims;
  info.third_party = config.third_party;
  info.extra = {{"torchclip.json", artifact.config_json()}, {"tokenizer.json", artifact.tokenizer_json()}};
  table = std::make_unique<PixelTable>(config.mean.data(), config.std.data());
  info.image_runner = info.text_runner = std::string("generic ") + dtype_name(dtype) + " (TorchScript)";
}

// The towers that a fast runner knows.
void Runner::State::build_fast(const RunnerOptions& options, int threads, const Artifact& artifact) {
  const bool on_device = device.is_cuda() || options.makeModel;
  if (options.generic) return;
  const auto weights = artifact.weights();
  const auto& config = artifact.config().json;
  if (!on_device) return build_on_cpu(precision_of(options.precision), weights, config, threads);
  const DeviceModelSource source{std::max<int>(device.index(), 0),
                                 dtype_name(dtype),
                                 weights,
                                 config,
                                 info.embed_dim,
                                 info.context_length,
                                 info.transform,
                                 *table,
                                 options.deterministic};
  model = options.makeModel ? options.makeModel(source) : make_cuda_model(source);
  if (model && model->has_images()) info.image_runner = "fast " + model->name();
  if (model && model->has_texts()) info.text_runner = "fast " + model->name();
}

// The towers that are left, by TorchScript that is generated from the settings.
void Runner::State::build_generic(const Artifact& artifact) {
  const auto build = [&](const char* tower) {
    auto module = generate_tower(artifact, tower, device, dtype);
    for (const auto& p : module.parameters()) genericBytes += p.nbytes();
    for (const auto& p : module.buffers()) genericBytes += p.nbytes();
    return module.get_method("forward");
  };
  if (!fast_images()) encode_image = build("visual");
  if (!fast_texts()) encode_text = build("text");
}

void Runner::State::build_third_party(const Artifact& artifact) {
  auto module = load_trusted(artifact.shared_file());
  const auto scale = module.attr("logit_scale");
  if (!scale.isTensor() || scale.toTensor().numel() != 1) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, "its logit_scale is no single number");
  }
  info.logit_scale = std::exp(scale.toTensor().to(at::kFloat).item<float>());
  module.to(device, dtype);
  for (const auto& p : module.parameters()) genericBytes += p.nbytes();
  for (const auto& p : module.buffers()) genericBytes += p.nbytes();
  encode_image = module.get_method("encode_image");
  encode_text = module.get_method("encode_text");
}

at::Tensor Runner::State::input_of(const std::uint8_t* pixels, std::int64_t rows) const {
  const std::int64_t side = info.image_size, plane = side * side;
  if (!device.is_cpu()) {  // a quarter of the bytes to copy, and the same arithmetic there
    auto batch = at::from_blob(const_cast<std::uint8_t*>(pixels), {rows, side, side, 3}, at::kByte)
                     .to(device)
                     .permute({0, 3, 1, 2});
    auto out = at::empty({rows, 3, side, side}, at::TensorOptions(dtype).device(device));
    for (int c = 0; c < 3; ++c) {
      const auto values = at::from_blob(const_cast<float*>(table->value[c]), {256}, at::kFloat).to(device);
      out.select(1, c).copy_(
          values.index_select(0, batch.select(1, c).reshape({-1}).to(at::kInt)).view({rows, side, side}));
    }
    return out;
  }
  auto input = at::empty({rows, 3, side, side}, at::kFloat);
  float* to = input.mutable_data_ptr<float>();
  at::parallel_for(0, rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::uint8_t* from = pixels + r * plane * 3;
      float* row = to + r * plane * 3;
      for (std::int64_t i = 0; i < plane; ++i) {
        for (int c = 0; c < 3; ++c) row[c * plane + i] = table->value[c][from[3 * i + c]];
      }
    }
  });
  return input.to(dtype);
}

template <typename Run>
void Runner::State::in_parts(std::int64_t rows, Cancel cancel, Run&& run) const {
  std::int64_t together = deterministic ? 1 : rows;
  for (std::int64_t first = 0; first < rows;) {
    check_cancel(cancel);
    const std::int64_t count = std::min(together, rows - first);
    try {
      run(first, count);
      first += count;
    } catch (...) {
      if (count == 1 || current_failure().status != TORCHCLIP_E_OUT_OF_MEMORY) throw;
      together = (count + 1) / 2;
      if (device.is_cuda()) free_cuda_cache();
    }
  }
}

std::vector<std::string> devices_of(const RunnerOptions& options) {
  if (options.device != "cuda:all") {
    return std::vector<std::string>(static_cast<std::size_t>(std::max(1, options.replicas)), options.device);
  }
  if (const auto& problem = cuda_problem(); !problem.empty()) {
    throw Error(TORCHCLIP_E_CUDA_UNAVAILABLE, "cuda:all is not available: " + problem);
  }
  std::vector<std::string> devices;
  for (int i = 0; i < static_cast<int>(torch::cuda::device_count()); ++i)
    devices.push_back("cuda:" + std::to_string(i));
  return devices;
}

Runner::Runner(const std::string& path, const RunnerOptions& options) : state_(std::make_unique<State>()) {
  auto& s = *state_;
  s.device = choose_device(options.device, s.info.device_note);
  s.dtype = choose_dtype(options.precision);
  const auto cores = std::max(1u, std::thread::hardware_concurrency());
  const int threads = options.threads > 0 ? options.threads : static_cast<int>(cores);
  at::set_num_threads(threads);
  s.deterministic = options.deterministic;
  const Artifact artifact(path);
  s.file = artifact.file().identity();
  s.read_config(artifact);
  if (s.info.third_party && !options.trust_code) {
    throw Error(TORCHCLIP_E_MODEL_UNSAFE,
                path +
                    " runs TorchScript code of its own, which can read and write any file of yours. Where you trust "
                    "its author: load(path, { trustCode: true }), --trust-code, or trust_code in C. Safer: import the "
                    "weights themselves (safetensors or a state dict)");
  }
  try {
    if (s.info.third_party) {
      s.build_third_party(artifact);
    } else {
      s.info.logit_scale = std::exp(artifact.scalar("logit_scale"));
      if (artifact.config().sigmoid) s.info.logit_bias = artifact.scalar("logit_bias");
      s.build_fast(options, threads, artifact);
      s.build_generic(artifact);
    }
  } catch (const std::exception& e) {
    const auto failure = current_failure();
    const bool about_file = failure.status == TORCHCLIP_E_MODEL_CORRUPT || failure.status == TORCHCLIP_E_INTERNAL;
    if (!about_file || failure.message.rfind(path, 0) == 0) throw;
    const std::string text = failure.message.substr(0, failure.message.find('\n'));
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, path + " is not a whole torchclip artifact: " + text);
  }
  s.info.device = s.device.str();
  s.info.precision = (s.image || s.text) && options.precision == "int8" ? "int8" : dtype_name(s.dtype);
}

Runner::~Runner() = default;

const ModelInfo& Runner::info() const noexcept { return state_->info; }

MemoryUse Runner::memory() const {
  const auto& s = *state_;
  const auto of_model = s.model ? s.model->memory() : MemoryUse{};
  return {s.genericBytes + (s.image ? s.image->bytes() : 0) + (s.text ? s.text->bytes() : 0) + of_model.weights,
          s.workspace.bytes() + of_model.workspace};
}

void Runner::encode_images(const std::uint8_t* pixels, std::int64_t rows, float* out, bool normalize, Cancel cancel) {
  auto& s = *state_;
  const std::int64_t side = s.info.image_size, dim = s.info.embed_dim;
  if (s.image) {
    s.image->encode(s.context(), s.workspace, pixels, rows, out, cancel);
  } else if (s.fast_images()) {
    s.model->encode_images(pixels, rows, out, cancel);
  } else {
    c10::InferenceMode inference;
    s.in_parts(rows, cancel, [&](std::int64_t first, std::int64_t count) {
      s.run(*s.encode_image, s.input_of(pixels + first * side * side * 3, count), count, out + first * dim);
    });
  }
  if (normalize) State::normalize_rows(out, rows, dim);
}

void Runner::encode_pictures(const Picture* pictures, std::int64_t rows, float* out, std::uint8_t* failed,
                             bool normalize, Cancel cancel) {
  auto& s = *state_;
  if (failed) std::fill_n(failed, rows, std::uint8_t{0});
  for (std::int64_t r = 0; r < rows && !failed; ++r) {
    if (pictures[r].encoded) throw Error(TORCHCLIP_E_ARGUMENT, "encoded pictures need room for what fails");
  }
  if (s.model && s.model->has_images()) {
    s.model->encode_pictures(pictures, rows, out, failed, cancel);
    if (normalize) State::normalize_rows(out, rows, s.info.embed_dim);
    return;
  }
  const auto bytes = static_cast<std::size_t>(s.info.image_size) * s.info.image_size * 3;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(rows) * bytes);
  at::parallel_for(0, rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      if (pictures[r].encoded) {
        failed[r] = 1;
      } else {
        preprocess(pictures[r].image, s.info.transform, pixels.data() + r * bytes);
      }
    }
  });
  encode_images(pixels.data(), rows, out, normalize, cancel);
}

void Runner::encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int32_t length, float* out, bool normalize,
                           Cancel cancel) {
  auto& s = *state_;
  for (std::int64_t i = 0; i < rows * length; ++i) {
    if (ids[i] < 0 || ids[i] >= s.info.vocab_size) {
      throw Error(TORCHCLIP_E_ARGUMENT, "token id " + std::to_string(ids[i]) + " of text " +
                                            std::to_string(i / length) + " is outside the vocabulary (" +
                                            std::to_string(s.info.vocab_size) + ")");
    }
  }
  const std::int64_t dim = s.info.embed_dim;
  if (s.text) {
    s.text->encode(s.context(), s.workspace, ids, rows, length, out, cancel);
  } else if (s.fast_texts()) {
    s.model->encode_tokens(ids, rows, length, out, cancel);
  } else {
    c10::InferenceMode inference;
    s.in_parts(rows, cancel, [&](std::int64_t first, std::int64_t count) {
      std::int64_t own = length;
      if (s.deterministic && s.info.trims) {  // the padding that other rows of the batch need must not matter
        while (own > 1 && ids[first * length + own - 1] == s.info.pad_id) --own;
      }
      auto input = at::empty({count, own}, at::kLong);
      std::copy_n(ids + first * length, count * own, input.mutable_data_ptr<std::int64_t>());
      s.run(*s.encode_text, input.to(s.device), count, out + first * dim);
    });
  }
  if (normalize) State::normalize_rows(out, rows, dim);
}

}  // namespace torchclip::core
