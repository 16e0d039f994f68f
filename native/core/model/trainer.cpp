#include "model/trainer.h"

#include <cstring>

#include "backend/edge.h"
#include "linalg/thread_pool.h"
#include "model/device.h"
#include "model/program_view.h"
#include "model/torch_library.h"

namespace torchclip::core {
namespace {

constexpr const char* kFeature = "fine-tuning";

// Reads a tensor of the artifact, or the zeros that a tensor of an adapter starts with. `context` is the artifact.
std::int32_t read_tensor(void* context, const char* name, std::uint64_t bytes, void* to,
                         torchclip_backend_error* error) {
  return guarded(error, [&] {
    const auto& artifact = *static_cast<const Artifact*>(context);
    const auto found = artifact.tensors().find(name);
    if (found == artifact.tensors().end()) {
      std::memset(to, 0, static_cast<std::size_t>(bytes));
    } else {
      artifact.read_bytes(found->second, to);
    }
  });
}

torchclip_torch_model c_model(const Artifact& artifact, const PixelTable& pixels) {
  const auto& config = artifact.config();
  torchclip_torch_model model{};
  model.size = sizeof model;
  model.file = file_view(artifact.file());
  model.context = const_cast<Artifact*>(&artifact);
  model.read_tensor = read_tensor;
  model.pixels = &pixels.value[0][0];
  model.image_size = config.image_size;
  model.embed_dim = config.embed_dim;
  model.pad_id = config.pad_id;
  model.trims = config.text_trims;
  return model;
}

torchclip_torch_training c_training(const TrainingSettings& settings, const Artifact& artifact,
                                    const std::vector<const char*>& trained, const Device& device) {
  torchclip_torch_training out{};
  out.size = sizeof out;
  out.cuda_device = device.cuda ? device.index : -1;
  out.threads = thread_count(settings.threads);
  out.bf16 = settings.bf16;
  out.trained = trained.data();
  out.trained_count = trained.size();
  out.logit_scale = artifact.scalar("logit_scale");
  out.sigmoid = artifact.config().sigmoid;
  out.logit_bias = out.sigmoid ? artifact.scalar("logit_bias") : 0;
  out.optimizer = settings.optimizer;
  out.beta1 = settings.beta1;
  out.beta2 = settings.beta2;
  out.epsilon = settings.epsilon;
  out.momentum = settings.momentum;
  out.weight_decay = settings.weight_decay;
  out.largest_norm = settings.largest_norm;
  out.seed = settings.seed;
  return out;
}

// Throws Error(E_ARGUMENT) for a name that is no tensor of the towers.
Shapes trained_shapes(const TrainingSettings& settings, Shapes all) {
  Shapes trained;
  for (const auto& name : settings.trained) {
    const auto found = all.find(name);
    if (found == all.end()) throw Error(TORCHCLIP_E_ARGUMENT, "the model has no tensor " + name + " to train");
    trained.insert(*found);
  }
  if (trained.empty()) throw Error(TORCHCLIP_E_ARGUMENT, "no tensor is to be trained");
  return trained;
}

// The shapes of a tower's tensors; where the layout accepts any size, the artifact's.
void add_shapes(Shapes& all, const TowerLayout& tower, const Artifact& artifact) {
  for (const auto& [name, shape] : tower.shapes) {
    const auto stored = artifact.tensors().find(name);
    all[name] = stored == artifact.tensors().end() ? shape : stored->second.shape;
  }
}

}  // namespace

Trainer::Trainer(const std::string& path, const TrainingSettings& settings)
    : artifact_(path),
      pixels_(artifact_.config().mean.data(), artifact_.config().std.data()),
      table_(torch_table(kFeature)),
      trainer_(nullptr, table_.destroy_trainer) {
  const auto& config = artifact_.config();
  if (config.third_party) {
    throw Error(TORCHCLIP_E_ARGUMENT, path + " is a third-party TorchScript export, which cannot be fine-tuned");
  }
  std::string note;
  const auto device = choose_device(settings.device, note);
  device_ = device.name();
  const auto image = settings.image_lora ? config.image_with_lora(settings.lora) : config.image;
  const auto text = settings.text_lora ? config.text_with_lora(settings.lora) : config.text;
  Shapes all{{"logit_scale", {}}};
  if (config.sigmoid) all["logit_bias"] = {};
  add_shapes(all, image, artifact_);
  if (settings.text) add_shapes(all, text, artifact_);
  trained_ = trained_shapes(settings, std::move(all));
  std::vector<const char*> names;
  for (const auto& [name, shape] : trained_) names.push_back(name.c_str());

  auto model = c_model(artifact_, pixels_);
  const ProgramView visual(image, artifact_), words(text, artifact_);
  model.visual = visual.view();
  if (settings.text) model.text = words.view();
  const auto training = c_training(settings, artifact_, names, device);
  torchclip_torch_trainer* made = nullptr;
  call(table_.make_trainer, &model, &training, &made);
  trainer_.reset(made);
}

// The backend uses ids as indices.
void Trainer::check_tokens(const torchclip_training_batch& batch) const {
  if (!batch.tokens) return;
  const auto vocabulary = artifact_.config().vocab_size;
  for (std::int64_t i = 0; i < batch.classes * batch.length; ++i) {
    if (batch.tokens[i] >= 0 && batch.tokens[i] < vocabulary) continue;
    throw Error(TORCHCLIP_E_ARGUMENT, "token " + std::to_string(batch.tokens[i]) + " is not in the vocabulary");
  }
}

torchclip_training_result Trainer::run(RunBatch function, torchclip_training_batch batch, Cancel cancel) {
  check_tokens(batch);
  const auto options = encode_options(cancel);
  batch.size = sizeof batch;
  torchclip_training_result result{};
  call(function, trainer_.get(), &batch, &options, &result);
  return result;
}

torchclip_training_result Trainer::train(const torchclip_training_batch& batch, Cancel cancel) {
  return run(table_.train_batch, batch, cancel);
}

torchclip_training_result Trainer::test(const torchclip_training_batch& batch, Cancel cancel) {
  return run(table_.test_batch, batch, cancel);
}

double Trainer::update(double learning_rate) {
  double norm = 0;
  call(table_.update_trained, trainer_.get(), learning_rate, &norm);
  return norm;
}

void Trainer::discard_gradients() { table_.discard_gradients(trainer_.get()); }

void Trainer::read(const std::string& name, int part, float* to, std::int64_t count) {
  call(table_.read_trained, trainer_.get(), name.c_str(), part, count, to);
}

void Trainer::write(const std::string& name, int part, const float* from, std::int64_t count) {
  call(table_.write_trained, trainer_.get(), name.c_str(), part, count, from);
}

void Trainer::set_steps(std::int64_t steps) { table_.set_steps(trainer_.get(), steps); }

}  // namespace torchclip::core
