// Fine-tuning of a model's towers by gradients. The towers are the generated TorchScript of native/core/model/config,
// run outside inference mode, so that every architecture trains by the same code that it is evaluated by.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "backend/torch_table.h"
#include "base/cancel.h"
#include "libtorch.h"
#include "optimizer.h"
#include "pixel_input.h"

namespace torchclip::libtorch {

using namespace core;

class Trainer {
 public:
  // Compiles the towers of the model. Throws Error(E_ARGUMENT) for a trained tensor that they do not have.
  Trainer(const torchclip_torch_model& model, const torchclip_torch_training& training);

  // Adds the gradient of a batch's loss, multiplied by its weight, to that of the step.
  torchclip_training_result train(const torchclip_training_batch& batch, Cancel cancel);
  // The loss of a batch without gradients and without dropout.
  torchclip_training_result test(const torchclip_training_batch& batch, Cancel cancel);
  // Changes the trained tensors and clears the gradient. Returns its norm before it was shortened.
  double update(double learning_rate);
  void discard_gradients();

  // Copies a part of a trained tensor (TORCHCLIP_TRAINED_...). Throws Error(E_ARGUMENT) for an unknown name, a part
  // that the optimizer does not have, or another number of values.
  void read(const std::string& name, int part, std::int64_t count, float* to);
  void write(const std::string& name, int part, std::int64_t count, const float* from);
  void set_steps(std::int64_t steps) { optimizer_.set_steps(steps); }

 private:
  struct Tower {
    torch::jit::Method forward;
    bool trained;  // Some of its tensors are; else it runs without gradients.
  };

  std::optional<Tower> make_tower(const torchclip_torch_model& model, const torchclip_program& program,
                                  const char* name, const torchclip_torch_training& training);
  at::Tensor scalar(const torchclip_torch_training& training, const char* name, float value);
  at::Tensor logits_of_batch(const torchclip_training_batch& batch);
  at::Tensor texts_of(const torchclip_training_batch& batch);
  at::Tensor encode(Tower& tower, const at::Tensor& input) const;
  at::Tensor loss_of(const at::Tensor& logits, const torchclip_training_batch& batch) const;
  at::Tensor& part_of(const std::string& name, int part, std::int64_t count);

  c10::Device device_;
  PixelInput pixels_;
  Optimizer optimizer_;
  std::int64_t embed_dim_;
  std::optional<Tower> visual_, text_;
  at::Tensor logit_scale_, logit_bias_;
  bool sigmoid_, bf16_;
  double largest_norm_;
  std::uint64_t seed_;
  std::uint64_t batches_ = 0;  // Of the current step.
};

}  // namespace torchclip::libtorch
