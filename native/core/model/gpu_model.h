// A model on a device other than the CPU, as the library of that device provides it (native/cuda). The interface does
// not expose CUDA.
#pragma once

#include <string>

#include "base/cancel.h"
#include "base/json.h"
#include "image/preprocess.h"
#include "model/config/pixel_table.h"
#include "model/config/weights.h"
#include "model/runner.h"

namespace torchclip::core {

struct GpuModelSource {
  int device = 0;         // CUDA device N
  std::string precision;  // fp32 | fp16 | bf16
  Weights weights;
  const Json& config;  // torchclip.json
  std::int64_t embed_dim = 0, context_length = 0;
  Transform transform;
  const PixelTable& pixels;
  bool deterministic = false;        // Runs one row at a time, for any batch.
  bool images = true, texts = true;  // The towers to load.
};

class GpuModel {
 public:
  virtual ~GpuModel() = default;
  virtual bool has_images() const = 0;
  virtual bool has_texts() const = 0;
  virtual std::string name() const = 0;  // "bf16 (NVIDIA H100, cuBLASLt, flash attention)"
  virtual MemoryUse memory() const = 0;

  // As the methods of Runner, but without normalisation.
  virtual void encode_pixels(const std::uint8_t* pixels, std::int64_t rows, float* out, Cancel cancel) = 0;
  virtual void encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int64_t length, float* out,
                             Cancel cancel) = 0;
  // Encodes images of any size and JPEG files as Runner does. They are resized and cropped on the device, with the same
  // bytes as preprocess().
  virtual void encode_images(const ImageInput* images, std::int64_t count, float* out, std::uint8_t* failed,
                             Cancel cancel) = 0;

  // The time in seconds of one pass over `rows` images (or texts of `length` tokens) that are already on the device, as
  // the mean of `repeats` passes. For benchmarks.
  virtual double time_images(std::int64_t rows, int repeats) = 0;
  virtual double time_texts(std::int64_t rows, std::int64_t length, int repeats) = 0;
};

}  // namespace torchclip::core
