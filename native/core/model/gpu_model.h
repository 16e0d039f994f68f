// A model on another device than the CPU, as the library of that device gives it (native/cuda). Nothing of CUDA shows.
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
  bool deterministic = false;  // a row at a time, whatever is asked for together
};

class GpuModel {
 public:
  virtual ~GpuModel() = default;
  virtual bool has_images() const = 0;
  virtual bool has_texts() const = 0;
  virtual std::string name() const = 0;  // "bf16 (NVIDIA H100, cuBLASLt, flash attention)"
  virtual MemoryUse memory() const = 0;

  // As Runner's, not normalised.
  virtual void encode_pixels(const std::uint8_t* pixels, std::int64_t rows, float* out, Cancel cancel) = 0;
  virtual void encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int64_t length, float* out,
                             Cancel cancel) = 0;
  // Images of any sizes and JPEG files as Runner's, resized and cropped on the device: the same bytes as preprocess()
  // gives.
  virtual void encode_images(const ImageInput* images, std::int64_t count, float* out, std::uint8_t* failed,
                             Cancel cancel) = 0;

  // Seconds of one pass over `rows` images (or texts of `length` tokens) that lie on the device already, the mean of
  // `repeats`; for benchmarks.
  virtual double time_images(std::int64_t rows, int repeats) = 0;
  virtual double time_texts(std::int64_t rows, std::int64_t length, int repeats) = 0;
};

}  // namespace torchclip::core
