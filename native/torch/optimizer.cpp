#include "optimizer.h"

#include <cmath>
#include <utility>

namespace torchclip::libtorch {

void Optimizer::add(const std::string& name, at::Tensor values) {
  Trained tensor;
  const bool is_sgd = settings_.kind == OptimizerSettings::Kind::sgd;
  if (!is_sgd || settings_.momentum != 0) tensor.first = at::zeros_like(values);
  if (!is_sgd) tensor.second = at::zeros_like(values);
  tensor.values = std::move(values);
  tensors_.emplace(name, std::move(tensor));
}

void Optimizer::step(double learning_rate) {
  at::NoGradGuard no_grad;
  ++steps_;
  for (auto& [name, tensor] : tensors_) {
    const auto& gradient = tensor.values.grad();
    if (!gradient.defined()) continue;
    if (settings_.kind == OptimizerSettings::Kind::sgd) {
      step_sgd(tensor, gradient, learning_rate);
    } else {
      step_adam(tensor, gradient, learning_rate);
    }
  }
}

// Kingma and Ba 2015, arXiv:1412.6980, algorithm 1; with decoupled decay Loshchilov and Hutter 2019, arXiv:1711.05101.
void Optimizer::step_adam(Trained& tensor, at::Tensor gradient, double learning_rate) const {
  const auto& s = settings_;
  if (s.weight_decay != 0) {
    if (s.kind == OptimizerSettings::Kind::adamw) {
      tensor.values.mul_(1 - learning_rate * s.weight_decay);
    } else {
      gradient = gradient.add(tensor.values, s.weight_decay);
    }
  }
  tensor.first.lerp_(gradient, 1 - s.beta1);
  tensor.second.mul_(s.beta2).addcmul_(gradient, gradient, 1 - s.beta2);
  const auto step = static_cast<double>(steps_);
  const double correction1 = 1 - std::pow(s.beta1, step), correction2 = 1 - std::pow(s.beta2, step);
  const auto denominator = (tensor.second.sqrt() / std::sqrt(correction2)).add_(s.epsilon);
  tensor.values.addcdiv_(tensor.first, denominator, -learning_rate / correction1);
}

// With momentum m: buffer = m * buffer + gradient, and the first buffer is the first gradient, since it starts from 0.
void Optimizer::step_sgd(Trained& tensor, at::Tensor gradient, double learning_rate) const {
  if (settings_.weight_decay != 0) gradient = gradient.add(tensor.values, settings_.weight_decay);
  if (settings_.momentum != 0) gradient = tensor.first.mul_(settings_.momentum).add_(gradient);
  tensor.values.add_(gradient, -learning_rate);
}

}  // namespace torchclip::libtorch
