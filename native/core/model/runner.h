// Runs a model artifact: uint8 images or token ids in, float32 embeddings out. Two ways, one result: the generic one
// calls TorchScript that is generated from the artifact's settings, and is the reference for tests; it also runs
// third-party exports with their own code, where the caller trusts them. The fast one runs the towers that torchclip
// itself exports: model/cpu on a CPU, native/cuda on a GPU. Each tower takes the fast way where there is one. libtorch
// stays behind the pointer, so that includers compile without it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "image/preprocess.h"

namespace torchclip::core {

class GpuModel;
struct GpuModelSource;

// A decoded image, or a JPEG file: then image.pixels holds `encoded` bytes of it and the image's sizes are 0.
struct ImageInput {
  Image image{};
  std::size_t encoded = 0;
};

constexpr std::int32_t kMostThreads = 1024;

struct RunnerOptions {
  std::string device = "auto";     // auto | cpu | cuda | cuda:N; of an engine also cuda:all
  std::string precision = "auto";  // auto (= fp32) | fp32 | bf16 | fp16 | int8
  std::int32_t threads = 0;        // compute threads on a CPU, up to kMostThreads; 0: one a core
  bool generic = false;            // TorchScript for both towers, whatever the machine has
  // The same bits for a image or text whatever shares its batch. The fast runner always gives that; the generic one
  // runs a row at a time.
  bool deterministic = false;
  // A third-party export may run its own code, with the rights of this process. Without it: Error(E_MODEL_UNSAFE).
  bool trust_code = false;
  // Copies of the model in an engine, on the same device; for tests. 0: one, or with cuda:all one for each GPU.
  std::int32_t replicas = 0;
  // Makes the model of the device instead of the CUDA library, for tests on machines without a GPU. null: no such.
  std::function<std::unique_ptr<GpuModel>(const GpuModelSource&)> make_model;
};

struct ModelInfo {
  std::int32_t image_size = 0, context_length = 0, embed_dim = 0, vocab_size = 0;
  float logit_scale = 0;                       // exp of the learned parameter
  float logit_bias = 0;                        // added to scaled cosines; 0 where the model has none
  Transform transform;                         // what preprocess() does for this model
  std::int32_t pad_id = 0;                     // fills a row of token ids after its end
  bool trims = true;                           // padding may be left away: the text encoder is causal
  bool third_party = false;                    // its own TorchScript code runs
  std::int32_t replicas = 1;                   // copies that share the engine's queue
  std::string device, precision, device_note;  // what is used; device_note: why `auto` is not CUDA, or empty
  std::string image_runner, text_runner;       // "fast bf16 (avx512_bf16)", "generic fp32 (TorchScript)" ...
  std::map<std::string, std::string> extra;    // torchclip.json, tokenizer.json: the artifact's extra files
};

struct MemoryUse {
  std::uint64_t weights = 0, workspace = 0;  // bytes
};

// The device of each copy that an engine holds: {"cuda:0", "cuda:1"} for cuda:all on a machine with two GPUs. Throws
// Error(E_CUDA_UNAVAILABLE) where cuda:all finds none.
std::vector<std::string> devices_of(const RunnerOptions& options);

class Runner {
 public:
  // Reads the artifact through one descriptor (see artifact.h) and moves it to the device. Call it, and everything else
  // here, on the thread that will run the model.
  Runner(const std::string& path, const RunnerOptions& options);
  ~Runner();

  const ModelInfo& info() const noexcept;

  // What the weights and the reused workspace hold now.
  MemoryUse memory() const;

  // pixels: uint8 [rows, S, S, 3]; out: float [rows, embed_dim]. Where *cancel turns not zero, the fast runner ends
  // with Error(E_ABORTED) before its next layer; `cancel` may be null.
  void encode_pixels(const std::uint8_t* pixels, std::int64_t rows, float* out, bool normalize,
                     const volatile std::int32_t* cancel = nullptr);
  // The same for images of any sizes, preprocessed as the model wants it where the model runs: on a GPU by its
  // kernels, else here; the same pixels either way. JPEG files are decoded by the GPU's decoder; failed: uint8 [rows],
  // not 0 for files that it does not take or that it fails at, and for every file where there is no such decoder:
  // their rows of `out` then mean nothing. `failed` may be null where no image is encoded.
  void encode_images(const ImageInput* images, std::int64_t rows, float* out, std::uint8_t* failed, bool normalize,
                     const volatile std::int32_t* cancel = nullptr);
  // ids: int32 [rows, length], length <= context_length; out: float [rows, embed_dim].
  void encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int32_t length, float* out, bool normalize,
                     const volatile std::int32_t* cancel = nullptr);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace torchclip::core
