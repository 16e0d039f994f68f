// A model on a GPU, which runs behind a table of functions (backend/cuda_table.h; native/cuda implements it).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "backend/cuda_table.h"
#include "base/cancel.h"
#include "image/preprocess.h"
#include "model/config/pixel_table.h"
#include "model/config/weights.h"
#include "model/runner.h"

namespace torchclip::core {

struct GpuModelSource {
  int device = 0;         // CUDA device N
  std::string precision;  // fp32 | fp16 | bf16 | fp8
  Weights weights;
  const std::string& config;  // torchclip.json
  std::int64_t embed_dim = 0, context_length = 0;
  Transform transform;
  const PixelTable& pixels;
  bool deterministic = false;        // Runs one row at a time, for any batch.
  bool images = true, texts = true;  // The towers to load.
};

class GpuModel {
 public:
  // `table` must outlive the model. Throws what the backend reports.
  GpuModel(const torchclip_cuda_table& table, const GpuModelSource& source);

  bool has_images() const { return info_.has_images != 0; }
  bool has_texts() const { return info_.has_texts != 0; }
  std::string name() const { return info_.name; }  // "bf16 (NVIDIA H100, cuBLASLt, flash attention)"
  MemoryUse memory() const;
  torchclip_cuda_counts counts() const;

  // A call that may return before its results are there.
  struct Ahead {
    std::function<void()> begun;  // Called once, when the first part of the work waits for the GPU; it must not throw.
    std::uint64_t call = 0;       // Afterwards: the number for finish_call, or 0 if the results are there.
  };

  // As the methods of Runner.
  void encode_pixels(const std::uint8_t* pixels, std::int64_t rows, ImageOutput output, float* out, bool normalize,
                     Cancel cancel, Ahead* ahead = nullptr);
  void encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int64_t length, float* out, bool normalize,
                     Cancel cancel, Ahead* ahead = nullptr);
  // Waits for the results of a call. Throws what went wrong.
  void finish_call(std::uint64_t call);
  // Encodes images of any size and JPEG files as Runner does. They are resized and cropped on the device, with the same
  // bytes as preprocess().
  void encode_images(const ImageInput* images, std::int64_t count, ImageOutput output, float* out, std::uint8_t* failed,
                     bool normalize, Cancel cancel);

 private:
  const torchclip_cuda_table& table_;
  std::unique_ptr<torchclip_cuda_model, void (*)(torchclip_cuda_model*)> model_;
  torchclip_cuda_model_info info_{};
};

}  // namespace torchclip::core
