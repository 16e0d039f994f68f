#include "model/runner.h"

#include <sys/stat.h>

#include <cmath>
#include <thread>

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
    throw Error(TORCHCLIP_E_ARGUMENT, "device must be auto, cpu, cuda or cuda:N, not \"" + wanted + "\"");
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
  if (precision == "auto" || precision == "fp32") return at::kFloat;
  if (precision == "bf16") return at::kBFloat16;
  if (precision == "fp16") return at::kHalf;
  throw Error(TORCHCLIP_E_ARGUMENT, "precision must be auto, fp32, bf16 or fp16, not \"" + precision + "\"");
}

const char* dtype_name(c10::ScalarType type) {
  return type == at::kBFloat16 ? "bf16" : type == at::kHalf ? "fp16" : "fp32";
}

}  // namespace

struct Runner::State {
  torch::jit::Module module;
  c10::Device device = c10::kCPU;
  c10::ScalarType dtype = at::kFloat;
  ModelInfo info;
  // (v / 255 - mean) / std for each channel and byte value, in the order of ToTensor and Normalize: so the
  // result has the reference's bits.
  float table[3][256];

  at::Tensor run(const char* method, at::Tensor input) {
    torch::jit::GraphOptimizerEnabledGuard unoptimised(false);  // no re-specialisation for each batch size
    return module.get_method(method)({std::move(input)}).toTensor();
  }

  void write(at::Tensor rows, float* out, bool normalize) const {
    rows = rows.to(at::kFloat);
    if (normalize) rows = rows / rows.norm(2, {1}, true);
    rows = rows.to(c10::kCPU).contiguous();
    std::copy_n(rows.const_data_ptr<float>(), rows.numel(), out);
  }
};

Runner::Runner(const std::string& path, const RunnerOptions& options) : state_(std::make_unique<State>()) {
  struct stat file {};
  if (stat(path.c_str(), &file) != 0 || !S_ISREG(file.st_mode)) {
    throw Error(TORCHCLIP_E_MODEL_NOT_FOUND, "no such file: " + path);
  }
  auto& s = *state_;
  s.device = choose_device(options.device, s.info.device_note);
  s.dtype = choose_dtype(options.precision);
  const auto cores = std::max(1u, std::thread::hardware_concurrency());
  at::set_num_threads(options.threads > 0 ? options.threads : static_cast<int>(cores));
  check_artifact(path);

  torch::jit::ExtraFilesMap extra;
  for (const char* name : kExtraFiles) extra[name] = "";
  try {
    s.module = torch::jit::load(path, c10::kCPU, extra);
    s.module.eval();
    s.module.to(s.device, s.dtype);
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
    info.transform = {info.image_size, static_cast<Resize>(optional("image_resize", 0)),
                      static_cast<Filter>(optional("image_filter", 0)),
                      static_cast<std::uint8_t>(optional("image_fill", 0))};
    info.pad_id = optional("pad_id", 0);
    info.trims = optional("text_trims", 1) != 0;
    if (s.module.hasattr("logit_bias")) {
      info.logit_bias = s.module.attr("logit_bias").toTensor().to(c10::kCPU, at::kFloat).item<float>();
    }
    info.logit_scale = std::exp(s.module.attr("logit_scale").toTensor().to(c10::kCPU, at::kFloat).item<float>());
    const auto mean = s.module.attr("image_mean").toDoubleVector();
    const auto std = s.module.attr("image_std").toDoubleVector();
    for (int c = 0; c < 3; ++c) {
      for (int v = 0; v < 256; ++v) {
        s.table[c][v] =
            (static_cast<float>(v) / 255.0f - static_cast<float>(mean.at(c))) / static_cast<float>(std.at(c));
      }
    }
    s.module.get_method("encode_image");
    s.module.get_method("encode_text");
  } catch (const std::exception& e) {
    const auto failure = current_failure();
    if (failure.status == TORCHCLIP_E_OUT_OF_MEMORY) throw;
    const std::string text = failure.message.substr(0, failure.message.find('\n'));
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, path + " is not a whole torchclip artifact: " + text);
  }
  s.info.device = s.device.str();
  s.info.precision = dtype_name(s.dtype);
  for (auto& [name, text] : extra) s.info.extra[name] = text;
}

Runner::~Runner() = default;

const ModelInfo& Runner::info() const noexcept { return state_->info; }

void Runner::encode_images(const std::uint8_t* pixels, std::int64_t rows, float* out, bool normalize) {
  auto& s = *state_;
  c10::InferenceMode inference;
  const std::int64_t side = s.info.image_size, plane = side * side;
  auto input = at::empty({rows, 3, side, side}, at::kFloat);
  float* to = input.mutable_data_ptr<float>();
  at::parallel_for(0, rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::uint8_t* from = pixels + r * plane * 3;
      float* row = to + r * plane * 3;
      for (std::int64_t i = 0; i < plane; ++i) {
        for (int c = 0; c < 3; ++c) row[c * plane + i] = s.table[c][from[3 * i + c]];
      }
    }
  });
  s.write(s.run("encode_image", input.to(s.device, s.dtype)), out, normalize);
}

void Runner::encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int32_t length, float* out,
                           bool normalize) {
  auto& s = *state_;
  c10::InferenceMode inference;
  auto input = at::empty({rows, length}, at::kLong);
  auto* to = input.mutable_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < rows * length; ++i) {
    if (ids[i] < 0 || ids[i] >= s.info.vocab_size) {
      throw Error(TORCHCLIP_E_ARGUMENT, "token id " + std::to_string(ids[i]) + " of text " +
                                            std::to_string(i / length) + " is outside the vocabulary (" +
                                            std::to_string(s.info.vocab_size) + ")");
    }
    to[i] = ids[i];
  }
  s.write(s.run("encode_text", input.to(s.device)), out, normalize);
}

}  // namespace torchclip::core
