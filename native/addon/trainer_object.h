// The JavaScript object that holds a trainer. See lib/addon.ts for the signatures.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "environment.h"
#include "training_session.h"

namespace torchclip::addon {

class TrainerObject : public Napi::ObjectWrap<TrainerObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit TrainerObject(const Napi::CallbackInfo& info);
  ~TrainerObject() override;

 private:
  Napi::Value load(const Napi::CallbackInfo& info);
  Napi::Value train(const Napi::CallbackInfo& info);
  Napi::Value test(const Napi::CallbackInfo& info);
  Napi::Value update(const Napi::CallbackInfo& info);
  Napi::Value discard(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value set_steps(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  using RunBatch = torchclip_training_result (core::Trainer::*)(const torchclip_training_batch&, core::Cancel);
  Napi::Value run_batch(const Napi::CallbackInfo& info, RunBatch run);
  // Starts work on the session's thread as a promise. `J` is a Job; `work` gets it and the trainer.
  template <typename J>
  Napi::Value run(const Napi::CallbackInfo& info, std::unique_ptr<J> job, core::Cancel cancel,
                  std::function<void(J&, core::Trainer&)> work);
  template <typename J>
  Napi::Value start(const Napi::CallbackInfo& info, std::unique_ptr<J> job, core::Cancel cancel,
                    std::function<void(J&, std::unique_ptr<core::Trainer>&)> work);

  std::shared_ptr<core::TrainingSession> session_ = std::make_shared<core::TrainingSession>();
  std::shared_ptr<TrainingSet> trainings_;
  std::int64_t image_size_ = 0, embed_dim_ = 0;  // Set when load() has settled.
};

}  // namespace torchclip::addon
