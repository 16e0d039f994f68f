#include "environment.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

namespace torchclip::addon {

namespace {

std::mutex all_mutex;
std::set<Environment*> all;

// Ends the trainings. A step of a large model may take longer than the patience; its thread then still uses it.
bool stop_trainings(TrainingSet& trainings) {
  bool ended = true;
  for (const auto& training : trainings) {
    if (training->close_within(core::Engine::kPatience)) continue;
    static auto* kept = new std::vector<std::shared_ptr<core::TrainingSession>>;
    kept->push_back(training);
    ended = false;
  }
  trainings.clear();
  return ended;
}

}  // namespace

// exit() on the main thread (an uncaught error, process.exit) runs no environment's hooks, but it does destroy the
// statics of libtorch; threads that still compute would crash then. lib/addon.ts stops them on the process's "exit"
// event; this is the second net, for exits without that event. It comes too late for statics that libtorch made
// after it was registered.
void Environment::stop_all() {
  std::lock_guard lock(all_mutex);
  bool ended = true;
  for (auto* environment : all) {
    environment->channel.mute();
    ended &= environment->stop();
  }
  if (ended) return;
  std::fflush(nullptr);
  std::_Exit(EXIT_FAILURE);
}

Environment::Environment(Napi::Env env) : channel(env) {
  static const int registered = std::atexit(stop_all);
  (void)registered;
  {
    std::lock_guard lock(all_mutex);
    all.insert(this);
  }
  const auto global = env.Global();
  const auto prototype = global.Get("ArrayBuffer").As<Napi::Object>().Get("prototype");
  const auto describe = global.Get("Object").As<Napi::Object>().Get("getOwnPropertyDescriptor").As<Napi::Function>();
  const auto description = describe.Call({prototype, Napi::String::New(env, "resizable")});
  resizable_ = Napi::Persistent(description.As<Napi::Object>().Get("get").As<Napi::Function>());
  resizable_.SuppressDestruct();  // it dies with its environment
  // Hooks run last-added first, so this one runs before the channel's own.
  env.AddCleanupHook([this] { stop(); });
}

bool Environment::is_resizable(const Napi::TypedArray& array) const {
  const Napi::Value buffer = array.ArrayBuffer();
  return buffer.IsArrayBuffer() && resizable_.Value().Call(buffer, {}).ToBoolean();
}

core::JobQueue& Environment::pool() {
  if (!pool_) pool_ = std::make_unique<core::JobQueue>(std::max(1u, std::thread::hardware_concurrency()), 65536);
  return *pool_;
}

Environment::~Environment() {
  std::lock_guard lock(all_mutex);
  all.erase(this);
}

bool Environment::stop() {
  *ending_ = 1;
  // Work of the pool ends by itself, but for third-party code that is tried at import.
  bool ended = !pool_ || pool_->stop_within(core::Engine::kPatience);
  if (!ended) {
    *gone_ = true;
    static_cast<void>(pool_.release());
  }
  for (const auto& engine : *engines_) {
    if (engine->close()) continue;
    // Its thread still uses it.
    static auto* kept = new std::vector<std::shared_ptr<core::Engine>>;
    kept->push_back(engine);
    ended = false;
  }
  engines_->clear();
  ended &= stop_trainings(*trainings_);
  return ended;
}

}  // namespace torchclip::addon
