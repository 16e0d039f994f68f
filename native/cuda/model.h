// CLIP's Transformer towers on a Device. They have the weights, settings and names of the fast CPU runner
// (core/model/cpu/tower.h), but another order of work. Sequences are packed, the residual stream is float32, matrix
// multiplication and attention use the model's element type (fp8: E4M3 in the products of the blocks, bf16 elsewhere),
// and the last layer runs for the pooled tokens only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backend/cuda_table.h"
#include "base/cancel.h"
#include "base/json.h"
#include "device.h"
#include "image/preprocess.h"
#include "model/config/image_output.h"
#include "model/config/weights.h"

namespace torchclip::cuda {

using core::Cancel;
using core::ImageOutput;

struct ModelSource {
  std::string precision;  // fp32 | fp16 | bf16 | fp8
  core::Weights weights;
  const core::Json& config;  // torchclip.json
  std::int64_t embed_dim = 0, context_length = 0;
  core::Transform transform;
  const float* pixels = nullptr;     // float [3, 256]: what each byte of each channel becomes.
  bool deterministic = false;        // Runs one row at a time, for any batch.
  bool images = true, texts = true;  // The towers to load.
};

struct MemoryUse {
  std::uint64_t weights = 0, workspace = 0;  // bytes
};

struct EncodeOptions {
  bool normalize = false;  // Divides each row of the output by its norm.
  Cancel cancel = nullptr;
  ImageOutput output = ImageOutput::embedding;  // of images
  // As in torchclip_encode_options.
  std::uint64_t* call = nullptr;
  void (*begun)(void*) = nullptr;
  void* context = nullptr;
};

class Model {
 public:
  virtual ~Model() = default;
  virtual bool has_images() const = 0;
  virtual bool has_texts() const = 0;
  virtual std::string name() const = 0;  // "bf16 (NVIDIA H100, cuBLASLt, flash attention)"
  virtual MemoryUse memory() const = 0;
  virtual DeviceCounts counts() const = 0;

  // As the functions of torchclip_cuda_table.
  virtual void encode_pixels(const std::uint8_t* pixels, std::int64_t rows, float* out,
                             const EncodeOptions& options) = 0;
  virtual void encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int64_t length, float* out,
                             const EncodeOptions& options) = 0;
  virtual void encode_images(const torchclip_image* images, std::int64_t count, float* out, std::uint8_t* failed,
                             const EncodeOptions& options) = 0;

  virtual void finish_call(std::uint64_t call) = 0;

  // The time in seconds that the device takes for `rows` images (or texts of `length` tokens) that it holds already, in
  // the passes that encode_pixels (encode_tokens) makes, as the mean of `repeats` runs. For benchmarks.
  virtual double time_images(std::int64_t rows, int repeats) = 0;
  virtual double time_texts(std::int64_t rows, std::int64_t length, int repeats) = 0;
};

// Throws Error(E_PRECISION) for fp8 on a device that does not multiply E4M3, or of a model whose sizes its products do
// not have. fp8 is calibrated here (calibration.h).
std::unique_ptr<Model> make_model(std::unique_ptr<Device> device, const ModelSource& source);

}  // namespace torchclip::cuda
