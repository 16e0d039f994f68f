#include "trainer_object.h"

#include <cmath>

#include "arguments.h"
#include "model/config/fields.h"
#include "model/runner.h"

namespace torchclip::addon {
namespace {

constexpr std::int64_t kMostRows = 1 << 20;
constexpr std::int64_t kMostRank = 1 << 12;

double number(const Napi::Value& value, const char* what) {
  const double found = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!std::isfinite(found)) throw argument_error(value.Env(), std::string(what) + " is not a finite number");
  return found;
}

std::vector<std::string> texts(const Napi::Value& value, const char* what) {
  std::vector<std::string> out;
  const auto items = list(value, what);
  for (std::uint32_t i = 0; i < items.Length(); ++i) out.push_back(text(items.Get(i), what));
  return out;
}

void read_lora(const Napi::Object& given, core::TrainingSettings& settings) {
  settings.image_lora = given.Get("image").ToBoolean();
  settings.text_lora = given.Get("text").ToBoolean();
  settings.lora.rank = whole(given.Get("rank"), 1, kMostRank, "rank");
  settings.lora.scale = number(given.Get("scale"), "scale");
  settings.lora.dropout = number(given.Get("dropout"), "dropout");
  for (const auto& projection : texts(given.Get("projections"), "projections")) {
    settings.lora.query |= projection == "q";
    settings.lora.key |= projection == "k";
    settings.lora.value |= projection == "v";
    settings.lora.output |= projection == "out";
  }
}

core::TrainingSettings settings_of(const Napi::Object& given) {
  core::TrainingSettings settings;
  settings.device = text(given.Get("device"), "device");
  settings.threads = static_cast<int>(whole(given.Get("threads"), 0, core::kMostThreads, "threads"));
  settings.bf16 = given.Get("bf16").ToBoolean();
  settings.text = given.Get("text").ToBoolean();
  settings.trained = texts(given.Get("trained"), "trained");
  settings.optimizer = static_cast<int>(whole(given.Get("optimizer"), 0, 2, "optimizer"));
  settings.beta1 = number(given.Get("beta1"), "beta1");
  settings.beta2 = number(given.Get("beta2"), "beta2");
  settings.epsilon = number(given.Get("epsilon"), "epsilon");
  settings.momentum = number(given.Get("momentum"), "momentum");
  settings.weight_decay = number(given.Get("weightDecay"), "weightDecay");
  settings.largest_norm = number(given.Get("largestNorm"), "largestNorm");
  settings.seed = static_cast<std::uint64_t>(whole(given.Get("seed"), 0, 1LL << 52, "seed"));
  if (const auto lora = given.Get("lora"); lora.IsObject()) read_lora(lora.As<Napi::Object>(), settings);
  return settings;
}

class LoadTrainerJob : public Job {
 public:
  using Job::Job;
  core::Shapes shapes;
  std::string device;
  std::int64_t image_size = 0, embed_dim = 0;
  std::function<void(const LoadTrainerJob&)> loaded;

 protected:
  Napi::Value result(Napi::Env env) override {
    loaded(*this);
    auto o = Napi::Object::New(env);
    auto tensors = Napi::Array::New(env);
    for (const auto& [name, shape] : shapes) {
      auto axes = Napi::Array::New(env);
      for (const auto axis : shape) axes.Set(axes.Length(), static_cast<double>(axis));
      auto pair = Napi::Array::New(env);
      pair.Set(0u, name);
      pair.Set(1u, axes);
      tensors.Set(tensors.Length(), pair);
    }
    o.Set("trained", tensors);
    o.Set("device", device);
    return o;
  }
};

class BatchJob : public Job {
 public:
  using Job::Job;
  torchclip_training_result found{};

 protected:
  Napi::Value result(Napi::Env env) override {
    auto o = Napi::Object::New(env);
    o.Set("loss", found.loss);
    o.Set("correct", static_cast<double>(found.correct));
    return o;
  }
};

}  // namespace

Napi::Function TrainerObject::define(Napi::Env env) {
  return DefineClass(
      env, "Trainer",
      {InstanceMethod("load", &TrainerObject::load), InstanceMethod("train", &TrainerObject::train),
       InstanceMethod("test", &TrainerObject::test), InstanceMethod("update", &TrainerObject::update),
       InstanceMethod("discard", &TrainerObject::discard), InstanceMethod("read", &TrainerObject::read),
       InstanceMethod("write", &TrainerObject::write), InstanceMethod("setSteps", &TrainerObject::set_steps),
       InstanceMethod("close", &TrainerObject::close)});
}

TrainerObject::TrainerObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<TrainerObject>(info), trainings_(Environment::of(info.Env()).trainings()) {
  trainings_->insert(session_);
}

TrainerObject::~TrainerObject() { trainings_->erase(session_); }

template <typename J>
Napi::Value TrainerObject::start(const Napi::CallbackInfo& info, std::unique_ptr<J> job, core::Cancel cancel,
                                 std::function<void(J&, std::unique_ptr<core::Trainer>&)> work) {
  job->keep(info.This());
  auto& channel = Environment::of(info.Env()).channel;
  return channel.start(info.Env(), std::move(job), [&](J* raw) {
    session_->run([raw, work = std::move(work)](std::unique_ptr<core::Trainer>& trainer) { work(*raw, trainer); },
                  cancel, channel.finisher(raw));
  });
}

template <typename J>
Napi::Value TrainerObject::run(const Napi::CallbackInfo& info, std::unique_ptr<J> job, core::Cancel cancel,
                               std::function<void(J&, core::Trainer&)> work) {
  return start<J>(info, std::move(job), cancel,
                  [work = std::move(work)](J& j, std::unique_ptr<core::Trainer>& trainer) {
                    if (!trainer) throw core::Error(TORCHCLIP_E_CLOSED, "the trainer has no model");
                    work(j, *trainer);
                  });
}

// load(path: string, settings: NativeTraining): Promise<NativeTrained>
Napi::Value TrainerObject::load(const Napi::CallbackInfo& info) {
  const auto settings = settings_of(object(info[1], "settings"));
  auto job = std::make_unique<LoadTrainerJob>(info.Env());
  job->loaded = [this](const LoadTrainerJob& j) {
    image_size_ = j.image_size;
    embed_dim_ = j.embed_dim;
  };
  return start<LoadTrainerJob>(
      info, std::move(job), nullptr,
      [settings, path = addon::path(info[0], "path")](LoadTrainerJob& j, std::unique_ptr<core::Trainer>& trainer) {
        trainer = std::make_unique<core::Trainer>(path, settings);
        j.shapes = trainer->trained();
        j.device = trainer->device();
        j.image_size = trainer->image_size();
        j.embed_dim = trainer->embed_dim();
      });
}

// Arguments of train and test: (batch: NativeTrainingBatch, cancel: Int32Array).
Napi::Value TrainerObject::run_batch(const Napi::CallbackInfo& info, RunBatch run_one) {
  const auto given = object(info[0], "batch");
  torchclip_training_batch batch{};
  batch.rows = whole(given.Get("rows"), 1, kMostRows, "rows");
  batch.classes = whole(given.Get("classes"), 1, kMostRows, "classes");
  batch.weight = number(given.Get("weight"), "weight");
  const auto pixels = given.Get("pixels"), labels = given.Get("labels"), classes = given.Get("classEmbeddings"),
             tokens = given.Get("tokens");
  if (tokens.IsTypedArray()) batch.length = whole(given.Get("length"), 1, core::kMostTokens, "length");
  // All arguments are converted: pointers are taken now.
  batch.pixels =
      elements_of<std::uint8_t>(pixels, napi_uint8_array, batch.rows * image_size_ * image_size_ * 3, "pixels");
  auto job = std::make_unique<BatchJob>(info.Env());
  job->keep(pixels);
  if (labels.IsTypedArray()) {
    batch.labels = elements_of<std::int32_t>(labels, napi_int32_array, batch.rows, "labels");
    job->keep(labels);
    check_labels(info.Env(), batch.labels, batch.rows, batch.classes);
  } else if (batch.classes != batch.rows) {
    throw argument_error(info.Env(), "without labels there is one text for each image");
  }
  if (tokens.IsTypedArray()) {
    batch.tokens = elements_of<std::int32_t>(tokens, napi_int32_array, batch.classes * batch.length, "tokens");
    job->keep(tokens);
  } else {
    batch.class_embeddings =
        elements_of<float>(classes, napi_float32_array, batch.classes * embed_dim_, "classEmbeddings");
    job->keep(classes);
  }
  const auto* cancel = elements_of<std::int32_t>(info[1], napi_int32_array, 1, "cancel");
  job->keep(info[1]);
  return run<BatchJob>(info, std::move(job), cancel, [batch, run_one, cancel](BatchJob& j, core::Trainer& trainer) {
    j.found = (trainer.*run_one)(batch, cancel);
  });
}

// train(batch: NativeTrainingBatch, cancel: Int32Array): Promise<NativeBatchResult>
Napi::Value TrainerObject::train(const Napi::CallbackInfo& info) { return run_batch(info, &core::Trainer::train); }

// test(batch: NativeTrainingBatch, cancel: Int32Array): Promise<NativeBatchResult>
Napi::Value TrainerObject::test(const Napi::CallbackInfo& info) { return run_batch(info, &core::Trainer::test); }

// update(learningRate: number): Promise<number>
Napi::Value TrainerObject::update(const Napi::CallbackInfo& info) {
  const double rate = number(info[0], "learningRate");
  return run<NumberJob>(info, std::make_unique<NumberJob>(info.Env()), nullptr,
                        [rate](NumberJob& j, core::Trainer& trainer) { j.value = trainer.update(rate); });
}

// discard(): Promise<void>
Napi::Value TrainerObject::discard(const Napi::CallbackInfo& info) {
  return run<Job>(info, std::make_unique<Job>(info.Env()), nullptr,
                  [](Job&, core::Trainer& trainer) { trainer.discard_gradients(); });
}

// read(name: string, part: 0 | 1 | 2, out: Float32Array): Promise<void>
Napi::Value TrainerObject::read(const Napi::CallbackInfo& info) {
  const auto name = text(info[0], "name");
  const auto part = static_cast<int>(whole(info[1], 0, 2, "part"));
  auto* out = elements_of<float>(info[2], napi_float32_array, 0, "out");
  const auto count = static_cast<std::int64_t>(info[2].As<Napi::TypedArray>().ElementLength());
  auto job = std::make_unique<Job>(info.Env());
  job->keep(info[2]);
  return run<Job>(info, std::move(job), nullptr,
                  [=](Job&, core::Trainer& trainer) { trainer.read(name, part, out, count); });
}

// write(name: string, part: 0 | 1 | 2, values: Float32Array): Promise<void>
Napi::Value TrainerObject::write(const Napi::CallbackInfo& info) {
  const auto name = text(info[0], "name");
  const auto part = static_cast<int>(whole(info[1], 0, 2, "part"));
  const auto* values = elements_of<float>(info[2], napi_float32_array, 0, "values");
  const auto count = static_cast<std::int64_t>(info[2].As<Napi::TypedArray>().ElementLength());
  auto job = std::make_unique<Job>(info.Env());
  job->keep(info[2]);
  return run<Job>(info, std::move(job), nullptr,
                  [=](Job&, core::Trainer& trainer) { trainer.write(name, part, values, count); });
}

// setSteps(steps: number): Promise<void>
Napi::Value TrainerObject::set_steps(const Napi::CallbackInfo& info) {
  const auto steps = whole(info[0], 0, 1LL << 52, "steps");
  return run<Job>(info, std::make_unique<Job>(info.Env()), nullptr,
                  [steps](Job&, core::Trainer& trainer) { trainer.set_steps(steps); });
}

// close(): Promise<void>; the running batch is waited for on the pool.
Napi::Value TrainerObject::close(const Napi::CallbackInfo& info) {
  auto job = std::make_unique<Job>(info.Env());
  job->keep(info.This());
  return Environment::of(info.Env()).start<Job>(info.Env(), std::move(job), [session = session_](Job&) {
    session->close();
  });
}

}  // namespace torchclip::addon
