#include "environment.h"

#include <thread>

namespace torchclip::addon {

Environment::Environment(Napi::Env env) : channel(env) {
  // Hooks run last-added first, so this one runs before the channel's own.
  env.AddCleanupHook([this] { stop(); });
}

core::WorkerPool& Environment::pool() {
  if (!pool_) pool_ = std::make_unique<core::WorkerPool>(std::max(1u, std::thread::hardware_concurrency()), 65536);
  return *pool_;
}

void Environment::stop() {
  if (pool_) pool_->stop();
  for (const auto& engine : *engines_) engine->close();
  engines_->clear();
}

}  // namespace torchclip::addon
