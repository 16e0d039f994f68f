#include "model/runner.h"

#include <sys/stat.h>

#include <cmath>
#include <thread>
#include <unordered_map>

#include "model/device_model.h"
#include "model/fast/towers.h"
#include "model/mapped_archive.h"
#include "model/safety.h"
#include "model/torch.h"
#include "runtime/cuda_library.h"
#include "runtime/error.h"

namespace torchclip::core {
namespace {

constexpr const char* kExtraFiles[] = {"torchclip.json", "tokenizer.json"};

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

const char* dtype_name(c10::ScalarType type) {
  return type == at::kBFloat16 ? "bf16" : type == at::kHalf ? "fp16" : "fp32";
}

}  // namespace

struct Runner::State {
  torch::jit::Module module;  // without the parameters of towers that are fast
  c10::Device device = c10::kCPU;
  c10::ScalarType dtype = at::kFloat;
  ModelInfo info;
  bool deterministic = false;
  std::unique_ptr<PixelTable> table;

  std::unique_ptr<DeviceModel> model;  // of a GPU; null: none, or generic
  std::unique_ptr<Team> team;
  std::unique_ptr<ImageTower> image;  // on the CPU; null: generic
  std::unique_ptr<TextTower> text;
  Workspace workspace;
  std::uint64_t genericBytes = 0;

  Context context() const { return {*kernels(), *team}; }
  bool fast_images() const { return image || (model && model->has_images()); }
  bool fast_texts() const { return text || (model && model->has_texts()); }

  at::Tensor run(const char* method, at::Tensor input) {
    torch::jit::GraphOptimizerEnabledGuard unoptimised(false);  // no re-specialisation for each batch size
    return module.get_method(method)({std::move(input)}).toTensor();
  }

  void write(at::Tensor rows, float* out) const {
    rows = rows.to(at::kFloat).to(c10::kCPU).contiguous();
    std::copy_n(rows.const_data_ptr<float>(), rows.numel(), out);
  }

  static void normalize_rows(float* out, std::int64_t rows, std::int64_t dim) {
    for (std::int64_t r = 0; r < rows; ++r, out += dim) {
      double squares = 0;
      for (std::int64_t i = 0; i < dim; ++i) squares += static_cast<double>(out[i]) * out[i];
      const auto norm = static_cast<float>(std::sqrt(squares));
      for (std::int64_t i = 0; i < dim; ++i) out[i] /= norm;
    }
  }

  void build_fast(const RunnerOptions& options, int threads, const MappedArchive& archive);
  void build_on_cpu(Type type, const Weights& weights, const Json& config, int threads);

  // at::Tensor of pictures as the artifact's methods take them.
  at::Tensor input_of(const std::uint8_t* pixels, std::int64_t rows) const;
  // run(first, count) over all rows; out of memory: with half of them at a time.
  template <typename Run>
  void in_parts(std::int64_t rows, Cancel cancel, Run&& run) const;
};

void Runner::State::build_on_cpu(Type type, const Weights& weights, const Json& config, int threads) {
  const auto* machine = kernels();
  if (!machine || !machine->multiply[static_cast<int>(type)]) return;
  team = std::make_unique<Team>(threads);
  image = ImageTower::make(context(), type, weights, config["image"], info.embed_dim, *table);
  text = TextTower::make(context(), type, weights, config["text"], info.embed_dim);
  const auto name = [&](Type t) {
    return std::string("fast ") +
           (t == Type::bf16 ? "bf16"
            : t == Type::s8 ? "int8"
                            : "fp32") +
           " (" + machine->name + ")";
  };
  if (image) info.image_runner = name(image->type());
  if (text) info.text_runner = name(type);
  if (!image && !text) team.reset();
}

// The towers that a fast runner knows, from the parameters of the loaded module; what they took over is freed there.
void Runner::State::build_fast(const RunnerOptions& options, int threads, const MappedArchive& archive) {
  const bool on_device = device.is_cuda() || options.makeModel;
  if (options.generic || (!on_device && options.precision == "fp16")) return;
  std::unordered_map<std::string, at::Tensor> tensors;
  for (const auto& p : module.named_parameters()) tensors.emplace(p.name, p.value);
  for (const auto& p : module.named_buffers()) tensors.emplace(p.name, p.value);
  const Weights weights = [&](const std::string& name) -> Tensor {
    const auto at = tensors.find(name);
    if (at == tensors.end()) return {};
    // Over the mapped file, or a copy where it is stored in another type.
    auto kept = std::make_shared<std::pair<at::Tensor, std::shared_ptr<const void>>>(
        archive.values(at->second.detach()).to(at::kFloat).contiguous(), archive.keep());
    const auto& values = kept->first;
    return {values.const_data_ptr<float>(), {values.sizes().begin(), values.sizes().end()}, kept};
  };
  const auto config = Json::parse(info.extra["torchclip.json"]);
  if (on_device) {
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
  } else {
    const auto& p = options.precision;
    build_on_cpu(p == "bf16" ? Type::bf16 : p == "int8" ? Type::s8 : Type::f32, weights, config, threads);
  }
  for (const auto& [key, tensor] : tensors) {
    const bool visual = key.rfind("visual.", 0) == 0, textual = key.rfind("text.", 0) == 0;
    if ((visual && fast_images()) || (textual && fast_texts())) tensor.set_data(at::empty({0}, tensor.options()));
  }
  if (fast_images() && fast_texts()) module = torch::jit::Module("empty");
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
  struct stat file {};
  if (stat(path.c_str(), &file) != 0 || !S_ISREG(file.st_mode)) {
    throw Error(TORCHCLIP_E_MODEL_NOT_FOUND, "no such file: " + path);
  }
  auto& s = *state_;
  s.device = choose_device(options.device, s.info.device_note);
  s.dtype = choose_dtype(options.precision);
  const auto cores = std::max(1u, std::thread::hardware_concurrency());
  const int threads = options.threads > 0 ? options.threads : static_cast<int>(cores);
  at::set_num_threads(threads);
  s.deterministic = options.deterministic;
  check_artifact(path);

  torch::jit::ExtraFilesMap extra;
  for (const char* name : kExtraFiles) extra[name] = "";
  try {
    MappedArchive archive(path);
    s.module = archive.load(extra);
    s.module.eval();
    for (auto& [name, text] : extra) s.info.extra[name] = text;
    auto& info = s.info;
    const auto whole = [&](const char* name) { return static_cast<std::int32_t>(s.module.attr(name).toInt()); };
    info.image_size = whole("image_size");
    info.context_length = whole("context_length");
    info.embed_dim = whole("embed_dim");
    info.vocab_size = whole("vocab_size");
    // Artifacts of format 1 lack what OpenAI's models do not need.
    const auto optional = [&](const char* name, std::int64_t otherwise) {
      return static_cast<std::int32_t>(s.module.hasattr(name) ? s.module.attr(name).toInt() : otherwise);
    };
    info.transform = {info.image_size,
                      static_cast<Resize>(optional("image_resize", 0)),
                      static_cast<Filter>(optional("image_filter", 0)),
                      static_cast<std::uint8_t>(optional("image_fill", 0)),
                      optional("image_resized", 0),
                      static_cast<Crop>(optional("image_crop", 0))};
    geometry(1, 1, info.transform);  // throws where its crop is larger than what it resizes to
    info.pad_id = optional("pad_id", 0);
    info.trims = optional("text_trims", 1) != 0;
    if (s.module.hasattr("logit_bias")) {
      info.logit_bias = s.module.attr("logit_bias").toTensor().to(c10::kCPU, at::kFloat).item<float>();
    }
    info.logit_scale = std::exp(s.module.attr("logit_scale").toTensor().to(c10::kCPU, at::kFloat).item<float>());
    const auto mean = s.module.attr("image_mean").toDoubleVector();
    const auto std = s.module.attr("image_std").toDoubleVector();
    if (mean.size() != 3 || std.size() != 3)
      throw Error(TORCHCLIP_E_MODEL_CORRUPT, "its mean and std are not three each");
    s.table = std::make_unique<PixelTable>(mean.data(), std.data());
    s.module.get_method("encode_image");
    s.module.get_method("encode_text");
    const std::string generic = std::string("generic ") + dtype_name(s.dtype) + " (TorchScript)";
    s.info.image_runner = s.info.text_runner = generic;
    s.build_fast(options, threads, archive);
    if (!s.fast_images() || !s.fast_texts()) {
      archive.fill(s.module);
      s.module.to(s.device, s.dtype);
    }
    for (const auto& p : s.module.parameters()) s.genericBytes += p.nbytes();
    for (const auto& p : s.module.buffers()) s.genericBytes += p.nbytes();
  } catch (const std::exception& e) {
    const auto failure = current_failure();
    if (failure.status == TORCHCLIP_E_OUT_OF_MEMORY) throw;
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
      s.write(s.run("encode_image", s.input_of(pixels + first * side * side * 3, count)), out + first * dim);
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
      s.write(s.run("encode_text", input.to(s.device)), out + first * dim);
    });
  }
  if (normalize) State::normalize_rows(out, rows, dim);
}

}  // namespace torchclip::core
