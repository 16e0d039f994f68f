// Optimizers, with the arithmetic of torch.optim (PyTorch 2.13: adamw.py, adam.py, sgd.py), whose state can be read and
// written by name.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "libtorch.h"

namespace torchclip::libtorch {

struct OptimizerSettings {
  enum class Kind { adamw, adam, sgd };
  Kind kind = Kind::adamw;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  // Of Adam and AdamW.
  double momentum = 0;                                // Of SGD; 0: none.
  double weight_decay = 0;  // AdamW: of the weights, times the learning rate; Adam and SGD: added to the gradient.
};

// A trained tensor and what the optimizer keeps for it, of the same shape. `second` is not defined for SGD, and `first`
// neither where it has no momentum.
struct Trained {
  at::Tensor values, first, second;
};

class Optimizer {
 public:
  explicit Optimizer(const OptimizerSettings& settings) : settings_(settings) {}

  // Adds a tensor with moments of zero. Returns it with its moments.
  void add(const std::string& name, at::Tensor values);
  // All tensors by name.
  std::map<std::string, Trained>& tensors() { return tensors_; }

  // One step along the gradients of the tensors. A tensor without a gradient stays as it is.
  void step(double learning_rate);

  std::int64_t steps() const { return steps_; }
  void set_steps(std::int64_t steps) { steps_ = steps; }

 private:
  void step_adam(Trained& tensor, at::Tensor gradient, double learning_rate) const;
  void step_sgd(Trained& tensor, at::Tensor gradient, double learning_rate) const;

  OptimizerSettings settings_;
  std::map<std::string, Trained> tensors_;
  std::int64_t steps_ = 0;
};

}  // namespace torchclip::libtorch
