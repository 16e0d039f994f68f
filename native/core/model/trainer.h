// Fine-tuning of a model by the libtorch backend. The loop around it (batches, learning rate, checkpoints) is the
// caller's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/torch_table.h"
#include "base/cancel.h"
#include "model/artifact/artifact.h"
#include "model/config/layout.h"
#include "model/config/pixel_table.h"

namespace torchclip::core {

struct TrainingSettings {
  std::string device = "cpu";        // As choose_device() takes it.
  int threads = 0;                   // Of libtorch on the CPU; 0: one a core.
  bool bf16 = false;                 // Autocast to bf16 on a GPU.
  bool text = false;                 // Whether texts are encoded in training; else the text tower is not loaded.
  std::vector<std::string> trained;  // Names of tensors, of adapters too.
  bool image_lora = false, text_lora = false;  // The towers that get adapters.
  LoraLayout lora;
  int optimizer = TORCHCLIP_OPTIMIZER_ADAMW;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, momentum = 0, weight_decay = 0;
  double largest_norm = 0;  // A longer gradient is shortened to it; 0: none is.
  std::uint64_t seed = 0;   // Of dropout.
};

class Trainer {
 public:
  // Opens an artifact and compiles its towers. Adapters start with zeros. Call it, and all methods, on one thread.
  // Throws Error(E_ADDON) if libtorch is missing, Error(E_ARGUMENT) for settings that do not fit the model, and what
  // Artifact throws.
  Trainer(const std::string& path, const TrainingSettings& settings);

  // The shapes of the trained tensors by name.
  const Shapes& trained() const { return trained_; }
  std::int64_t image_size() const { return artifact_.config().image_size; }
  std::int64_t embed_dim() const { return artifact_.config().embed_dim; }
  const std::string& device() const { return device_; }

  // `batch.size` is set here. See torchclip_torch_table for what the methods do.
  torchclip_training_result train(const torchclip_training_batch& batch, Cancel cancel);
  torchclip_training_result test(const torchclip_training_batch& batch, Cancel cancel);
  double update(double learning_rate);
  void discard_gradients();
  void read(const std::string& name, int part, float* to, std::int64_t count);
  void write(const std::string& name, int part, const float* from, std::int64_t count);
  void set_steps(std::int64_t steps);

 private:
  using RunBatch = decltype(torchclip_torch_table::train_batch);
  torchclip_training_result run(RunBatch function, torchclip_training_batch batch, Cancel cancel);
  void check_tokens(const torchclip_training_batch& batch) const;

  Artifact artifact_;
  PixelTable pixels_;
  const torchclip_torch_table& table_;
  std::unique_ptr<torchclip_torch_trainer, void (*)(torchclip_torch_trainer*)> trainer_;
  Shapes trained_;
  std::string device_;
};

}  // namespace torchclip::core
