// A model that TorchScript runs with libtorch.
#pragma once

#include <cstdint>
#include <optional>

#include "backend/torch_table.h"
#include "base/cancel.h"
#include "libtorch.h"
#include "model/config/image_output.h"
#include "pixel_input.h"

namespace torchclip::libtorch {

using namespace core;

class ScriptRunner {
 public:
  // Compiles the programs of the model, or loads a third-party export with its own code.
  ScriptRunner(const torchclip_torch_model& model, const torchclip_torch_options& options);

  torchclip_torch_runner_info info() const { return {bytes_, logit_scale_}; }

  // pixels: uint8 [rows, S, S, 3]; out: float [rows, embed_dim], or [rows, pooled_dim] for the pooled feature.
  void encode_pixels(const std::uint8_t* pixels, std::int64_t rows, ImageOutput output, float* out, Cancel cancel);
  // ids: int32 [rows, length]
  void encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int64_t length, float* out, Cancel cancel);

 private:
  void generate(const torchclip_torch_model& model);
  void take_third_party(const torchclip_file& file);
  torch::jit::Module module_of(const torchclip_torch_model& model, const torchclip_program& program, const char* tower);
  void run(torch::jit::Method& method, at::Tensor input, std::int64_t count, std::int64_t dim, float* out) const;
  template <typename Work>
  void in_chunks(std::int64_t rows, Cancel cancel, Work&& work) const;

  c10::Device device_;
  PixelInput pixels_;
  c10::ScalarType dtype_;
  bool deterministic_;
  std::int64_t image_size_, embed_dim_, pooled_dim_, pad_id_;
  bool trims_;
  void (*free_cuda_cache_)(void);
  std::optional<torch::jit::Method> encode_image_, pool_image_, encode_text_;
  std::uint64_t bytes_ = 0;
  float logit_scale_ = 0;
};

}  // namespace torchclip::libtorch
