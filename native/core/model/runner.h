// Runs a model artifact: uint8 images or token ids in, float32 embeddings out. There are two ways with one result. The
// generic runner calls TorchScript that is generated from the artifact's settings and is the reference for tests; it
// also runs third-party exports with their own code if the caller trusts them. The fast runners run the towers that
// torchclip itself exports: model/cpu on a CPU, native/cuda on a GPU. Each tower uses a fast runner if there is one for
// it. libtorch and CUDA work behind tables of functions (backend/backend.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "image/preprocess.h"
#include "model/config/image_output.h"

namespace torchclip::core {

class GpuModel;
struct GpuModelSource;

// A decoded image, or a JPEG file. For a JPEG file, image.pixels holds its `encoded` bytes and the sizes of `image` are
// 0.
struct ImageInput {
  Image image{};
  std::size_t encoded = 0;
};

constexpr std::int32_t kMostThreads = 1024;

// The towers of a model that are loaded.
enum class TowerChoice { both, image, text };

struct RunnerOptions {
  std::string device = "auto";     // auto | cpu | cuda | cuda:N; an engine also accepts cuda:all
  std::string precision = "auto";  // auto (= fp32) | fp32 | bf16 | fp16 | int8 | fp8 (GPU)
  std::int32_t threads = 0;        // Compute threads on a CPU, up to kMostThreads; 0: one per core.
  bool generic = false;            // Uses TorchScript for both towers on every machine.
  // A tower that is not loaded needs no time and no memory; calls that need it throw Error(E_ARGUMENT).
  TowerChoice towers = TowerChoice::both;
  // Gives an image or a text the same bits for any batch that contains it. The fast CPU runner always does; a GPU and
  // the generic runner then run one row at a time.
  bool deterministic = false;
  // Allows a third-party export to run its own code, with the rights of this process. If false, such a file is
  // Error(E_MODEL_UNSAFE).
  bool trust_code = false;
  // The number of copies of the model in an engine, on the same device; for tests. 0: one, or with cuda:all one for
  // each GPU.
  std::int32_t replicas = 0;
  // Creates the model of the device instead of the CUDA library, for tests on machines without a GPU. May be null.
  std::function<std::unique_ptr<GpuModel>(const GpuModelSource&)> make_model;
};

struct ModelInfo {
  std::int32_t image_size = 0, context_length = 0, embed_dim = 0, vocab_size = 0;
  std::int32_t pooled_dim = 0;                 // Width of the pooled image feature; 0: the model gives none.
  float logit_scale = 0;                       // exp of the learned parameter.
  float logit_bias = 0;                        // Added to scaled cosines; 0 if the model has none.
  Transform transform;                         // The settings of preprocess() for this model.
  std::int32_t pad_id = 0;                     // Fills a row of token ids after its end.
  bool trims = true;                           // Padding may be omitted: the text encoder is causal or masks it.
  bool third_party = false;                    // Whether its own TorchScript code runs.
  std::int32_t replicas = 1;                   // The number of copies that share the engine's queue.
  std::string device, precision, device_note;  // What is used; device_note says why `auto` is not CUDA, or is empty.
  // "fast bf16 (avx512_bf16)", "generic fp32 (TorchScript)", "not loaded" ...
  std::string image_runner = "not loaded", text_runner = "not loaded";
  std::map<std::string, std::string> extra;  // The artifact's extra files: torchclip.json, tokenizer.json.

  // The floats of one row of an image tower's output. Throws Error(E_ARGUMENT) if the model does not give it.
  std::int32_t dim_of(ImageOutput output) const;
};

struct MemoryUse {
  std::uint64_t weights = 0, workspace = 0;  // bytes
  // Passes that were captured as CUDA graphs so far, and captures that the GPU refused: these passes run uncaptured.
  std::uint64_t graphs = 0, refused_graphs = 0;
  std::string graph_problem;  // Why the last refused capture was refused; empty if none was.
};

// Returns the device of each copy that an engine holds, for example {"cuda:0", "cuda:1"} for cuda:all on a machine with
// two GPUs. Throws Error(E_CUDA_UNAVAILABLE) if cuda:all finds none.
std::vector<std::string> devices_of(const RunnerOptions& options);

class Runner {
 public:
  // Reads the artifact through one descriptor (see artifact.h) and moves it to the device. Call the constructor and
  // every method on the thread that will run the model.
  Runner(const std::string& path, const RunnerOptions& options);
  ~Runner();

  const ModelInfo& info() const noexcept;

  // The current size of the weights and of the reused workspace.
  MemoryUse memory() const;

  // pixels: uint8 [rows, S, S, 3]; out: float [rows, info().dim_of(output)]. `cancel` may be null. If *cancel becomes
  // nonzero, the fast runner ends with Error(E_ABORTED) before its next layer. Throws Error(E_ARGUMENT) for an output
  // that the model does not give.
  void encode_pixels(const std::uint8_t* pixels, std::int64_t rows, float* out, bool normalize,
                     const volatile std::int32_t* cancel = nullptr, ImageOutput output = ImageOutput::embedding);
  // Begins encode_pixels or encode_tokens. On a GPU it may return before the results are there, so that the copies of
  // the next call overlap with the computation. It then returns the rest: a function that waits for the results and
  // throws what went wrong, to be called once, in the order of the calls; until then the input and `out` must stay as
  // they are. Otherwise the result is empty. `begun` is called once the first part of the work waits for the GPU; it
  // may call the rest of earlier calls, and must not throw.
  using Rest = std::function<void()>;
  Rest begin_pixels(const std::uint8_t* pixels, std::int64_t rows, float* out, bool normalize, const Rest& begun,
                    const volatile std::int32_t* cancel = nullptr, ImageOutput output = ImageOutput::embedding);
  Rest begin_tokens(const std::int32_t* ids, std::int64_t rows, std::int32_t length, float* out, bool normalize,
                    const Rest& begun, const volatile std::int32_t* cancel = nullptr);
  // Encodes images of any size. They are preprocessed for the model on the device that runs it: by the kernels on a
  // GPU, otherwise on the CPU, with the same pixels. JPEG files are decoded by the GPU's decoder. failed: uint8 [rows],
  // nonzero for files that the decoder does not accept or fails to decode, and for every file if there is no decoder;
  // the contents of their rows of `out` are undefined. `failed` may be null if no image is an encoded file.
  void encode_images(const ImageInput* images, std::int64_t rows, float* out, std::uint8_t* failed, bool normalize,
                     const volatile std::int32_t* cancel = nullptr, ImageOutput output = ImageOutput::embedding);
  // ids: int32 [rows, length], length <= context_length; out: float [rows, embed_dim].
  void encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int32_t length, float* out, bool normalize,
                     const volatile std::int32_t* cancel = nullptr);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace torchclip::core
