#include "trainer.h"

#include <ATen/autocast_mode.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "losses.h"
#include "program.h"
#include "torch_module.h"

namespace torchclip::libtorch {
namespace {

// Matrix products in bf16 while it lives, the rest in fp32 (torch.autocast).
class Autocast {
 public:
  explicit Autocast(bool enabled) : enabled_(enabled) {
    if (!enabled_) return;
    at::autocast::set_autocast_dtype(at::kCUDA, at::kBFloat16);
    at::autocast::set_autocast_enabled(at::kCUDA, true);
  }
  ~Autocast() {
    if (!enabled_) return;
    at::autocast::set_autocast_enabled(at::kCUDA, false);
    at::autocast::clear_cache();
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool enabled_;
};

bool is_trained(const torchclip_torch_training& training, const std::string& name) {
  const auto* const* end = training.trained + training.trained_count;
  return std::any_of(training.trained, end, [&](const char* trained) { return name == trained; });
}

OptimizerSettings settings_of(const torchclip_torch_training& training) {
  OptimizerSettings settings;
  settings.kind = training.optimizer == TORCHCLIP_OPTIMIZER_SGD    ? OptimizerSettings::Kind::sgd
                  : training.optimizer == TORCHCLIP_OPTIMIZER_ADAM ? OptimizerSettings::Kind::adam
                                                                   : OptimizerSettings::Kind::adamw;
  settings.beta1 = training.beta1;
  settings.beta2 = training.beta2;
  settings.epsilon = training.epsilon;
  settings.momentum = training.momentum;
  settings.weight_decay = training.weight_decay;
  return settings;
}

// Each batch of each step draws from a generator of its own, so that a run that goes on from a checkpoint drops what an
// unbroken run drops.
std::uint64_t batch_seed(std::uint64_t seed, std::int64_t step, std::uint64_t batch) {
  std::uint64_t mixed = seed;
  for (const auto number : {static_cast<std::uint64_t>(step), batch}) {
    mixed = (mixed ^ (mixed >> 31)) * 0x9e3779b97f4a7c15ull + number;
  }
  return mixed;
}

std::int64_t correct_rows(const at::Tensor& logits, const torchclip_training_batch& batch) {
  const auto predicted = logits.detach().argmax(1).to(c10::kCPU);
  const auto* found = predicted.const_data_ptr<std::int64_t>();
  std::int64_t correct = 0;
  for (std::int64_t i = 0; i < batch.rows; ++i) correct += found[i] == (batch.labels ? batch.labels[i] : i);
  return correct;
}

at::Tensor labels_of(const torchclip_training_batch& batch, c10::Device device) {
  auto labels = at::empty({batch.rows}, at::kLong);
  std::copy_n(batch.labels, batch.rows, labels.mutable_data_ptr<std::int64_t>());
  return labels.to(device);
}

}  // namespace

Trainer::Trainer(const torchclip_torch_model& model, const torchclip_torch_training& training)
    : device_(torch_device(training.cuda_device)),
      pixels_(model.pixels, model.image_size, device_),
      optimizer_(settings_of(training)),
      embed_dim_(model.embed_dim),
      sigmoid_(training.sigmoid != 0),
      bf16_(training.bf16 != 0 && device_.is_cuda()),
      largest_norm_(training.largest_norm),
      seed_(training.seed) {
  at::set_num_threads(training.threads);
  visual_ = make_tower(model, model.visual, "visual", training);
  text_ = make_tower(model, model.text, "text", training);
  logit_scale_ = scalar(training, "logit_scale", training.logit_scale);
  const bool has_bias = training.sigmoid || training.logit_bias != 0;
  if (has_bias) logit_bias_ = scalar(training, "logit_bias", training.logit_bias);
  for (std::uint64_t i = 0; i < training.trained_count; ++i) {
    if (optimizer_.tensors().count(training.trained[i])) continue;
    throw Error(TORCHCLIP_E_ARGUMENT, std::string("the towers have no tensor ") + training.trained[i]);
  }
}

std::optional<Trainer::Tower> Trainer::make_tower(const torchclip_torch_model& model, const torchclip_program& program,
                                                  const char* name, const torchclip_torch_training& training) {
  if (program.module_count == 0) return std::nullopt;
  auto tensors = read_tensors(model, program, device_, at::kFloat);
  bool trained = false;
  for (auto& [path, tensor] : tensors) {
    if (!is_trained(training, path)) continue;
    trained = true;
    tensor.set_requires_grad(true);
    optimizer_.add(path, tensor);
  }
  auto module = build_module(modules_of(program), tensors).attr(name).toModule();
  return Tower{module.get_method("forward"), trained};
}

at::Tensor Trainer::scalar(const torchclip_torch_training& training, const char* name, float value) {
  auto tensor = at::full({}, value, at::TensorOptions(at::kFloat).device(device_));
  if (!is_trained(training, name)) return tensor;
  tensor.set_requires_grad(true);
  optimizer_.add(name, tensor);
  return tensor;
}

torchclip_training_result Trainer::train(const torchclip_training_batch& batch, Cancel cancel) {
  at::AutoGradMode grad(true);
  check_cancel(cancel);
  at::manual_seed(batch_seed(seed_, optimizer_.steps(), batches_++));
  const auto logits = logits_of_batch(batch);
  check_cancel(cancel);
  const auto loss = loss_of(logits, batch);
  (loss * batch.weight).backward();
  return {loss.item<double>(), correct_rows(logits, batch)};
}

torchclip_training_result Trainer::test(const torchclip_training_batch& batch, Cancel cancel) {
  at::NoGradGuard no_grad;
  check_cancel(cancel);
  const auto logits = logits_of_batch(batch);
  return {loss_of(logits, batch).item<double>(), correct_rows(logits, batch)};
}

// Images against the class embeddings, the texts of the classes, or their own texts.
at::Tensor Trainer::logits_of_batch(const torchclip_training_batch& batch) {
  if (!visual_) throw Error(TORCHCLIP_E_INTERNAL, "the trainer has no image tower");
  const auto images = unit_rows(encode(*visual_, pixels_.of(batch.pixels, batch.rows, at::kFloat)));
  return logits_of(images, texts_of(batch), logit_scale_, logit_bias_);
}

at::Tensor Trainer::texts_of(const torchclip_training_batch& batch) {
  if (batch.class_embeddings) {
    return at::from_blob(const_cast<float*>(batch.class_embeddings), {batch.classes, embed_dim_}, at::kFloat)
        .clone()
        .to(device_);
  }
  if (!text_) throw Error(TORCHCLIP_E_INTERNAL, "the trainer has no text tower");
  auto ids = at::empty({batch.classes, batch.length}, at::kLong);
  std::copy_n(batch.tokens, batch.classes * batch.length, ids.mutable_data_ptr<std::int64_t>());
  return unit_rows(encode(*text_, ids.to(device_)));
}

at::Tensor Trainer::encode(Tower& tower, const at::Tensor& input) const {
  torch::jit::GraphOptimizerEnabledGuard unoptimised(false);  // each operator runs as it is written
  const Autocast autocast(bf16_);
  const at::AutoGradMode grad(at::GradMode::is_enabled() && tower.trained);
  return tower.forward({input}).toTensor().to(at::kFloat);
}

at::Tensor Trainer::loss_of(const at::Tensor& logits, const torchclip_training_batch& batch) const {
  if (batch.labels) return cross_entropy(logits, labels_of(batch, device_));
  return sigmoid_ ? sigmoid_pairs_loss(logits) : softmax_pairs_loss(logits);
}

// The norm over all gradients together, as torch.nn.utils.clip_grad_norm_ computes it and shortens by it.
double Trainer::update(double learning_rate) {
  std::vector<at::Tensor> gradients, norms;
  for (auto& [name, tensor] : optimizer_.tensors()) {
    if (tensor.values.grad().defined()) gradients.push_back(tensor.values.grad());
  }
  for (const auto& gradient : gradients) norms.push_back(gradient.norm());
  const double norm = norms.empty() ? 0 : at::stack(norms).norm().item<double>();
  const double factor = largest_norm_ / (norm + 1e-6);
  if (largest_norm_ > 0 && factor < 1) {
    for (auto& gradient : gradients) gradient.mul_(factor);
  }
  optimizer_.step(learning_rate);
  discard_gradients();
  return norm;
}

void Trainer::discard_gradients() {
  for (auto& [name, tensor] : optimizer_.tensors()) tensor.values.mutable_grad() = at::Tensor();
  batches_ = 0;
}

at::Tensor& Trainer::part_of(const std::string& name, int part, std::int64_t count) {
  const auto found = optimizer_.tensors().find(name);
  if (found == optimizer_.tensors().end()) throw Error(TORCHCLIP_E_ARGUMENT, name + " is not trained");
  auto& tensor = found->second;
  auto& values = part == TORCHCLIP_TRAINED_FIRST    ? tensor.first
                 : part == TORCHCLIP_TRAINED_SECOND ? tensor.second
                                                    : tensor.values;
  if (!values.defined()) throw Error(TORCHCLIP_E_ARGUMENT, "the optimizer keeps no such moment of " + name);
  if (values.numel() == count) return values;
  throw Error(TORCHCLIP_E_ARGUMENT,
              name + " has " + std::to_string(values.numel()) + " values, not " + std::to_string(count));
}

void Trainer::read(const std::string& name, int part, std::int64_t count, float* to) {
  const auto values = part_of(name, part, count).detach().to(c10::kCPU).contiguous();
  std::copy_n(values.const_data_ptr<float>(), count, to);
}

void Trainer::write(const std::string& name, int part, std::int64_t count, const float* from) {
  at::NoGradGuard no_grad;
  auto& values = part_of(name, part, count);
  values.copy_(at::from_blob(const_cast<float*>(from), values.sizes(), at::kFloat));
}

}  // namespace torchclip::libtorch
