// What one JavaScript environment (the main thread or a worker) owns: its channel, its worker pool, its engines and
// its trainings.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <set>

#include "async.h"
#include "engine.h"
#include "training_session.h"

namespace torchclip::addon {

// Shared with the engine objects, which may be collected after their environment's data.
using EngineSet = std::set<std::shared_ptr<core::Engine>>;
using TrainingSet = std::set<std::shared_ptr<core::TrainingSession>>;

class Environment {
 public:
  explicit Environment(Napi::Env env);
  ~Environment();

  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  // Ends running work, cancels waiting work, joins the threads. Safe to call twice. Returns false where third-party
  // code does not return: its threads go on, and the process has to end by _exit().
  bool stop();

  Channel channel;
  core::JobQueue& pool();
  // Becomes 1 when `stop` is called, for long work of the pool that looks at it. Work keeps the pointer.
  std::shared_ptr<const volatile std::int32_t> ending() const { return ending_; }
  const std::shared_ptr<EngineSet>& engines() const { return engines_; }
  const std::shared_ptr<TrainingSet>& trainings() const { return trainings_; }
  // Whether the memory under a typed array can shrink while it is in use. That of a SharedArrayBuffer can only grow.
  bool is_resizable(const Napi::TypedArray& array) const;

  // Starts `work` on the pool as a promise; `job` carries what it needs.
  template <typename J>
  Napi::Value start(Napi::Env env, std::unique_ptr<J> job, std::function<void(J&)> work) {
    return channel.start(env, std::move(job), [&](J* raw) {
      pool().post([this, gone = gone_, raw, work = std::move(work)](bool cancelled) {
        try {
          if (cancelled) throw core::Error(TORCHCLIP_E_CLOSED, "the process is ending");
          work(*raw);
        } catch (...) {
          raw->failure = core::current_failure();
        }
        if (!*gone) channel.finish(raw);
      });
    });
  }

 private:
  static void stop_all();

  // The getter of ArrayBuffer.prototype: a property of the buffer's own could say anything, and run any code.
  Napi::FunctionReference resizable_;
  std::shared_ptr<EngineSet> engines_ = std::make_shared<EngineSet>();
  std::shared_ptr<TrainingSet> trainings_ = std::make_shared<TrainingSet>();
  std::unique_ptr<core::JobQueue> pool_;
  std::shared_ptr<volatile std::int32_t> ending_ = std::make_shared<volatile std::int32_t>(0);
  // True when this environment no longer waits for work that does not end.
  std::shared_ptr<std::atomic<bool>> gone_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace torchclip::addon
