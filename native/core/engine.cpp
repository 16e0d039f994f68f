#include "engine.h"

namespace torchclip::core {
namespace {

const Failure kClosed{TORCHCLIP_E_CLOSED, "the engine was closed before the work was done"};

template <typename Work>
Failure attempt(Work&& work) {
  try {
    work();
    return {};
  } catch (...) {
    return current_failure();
  }
}

}  // namespace

void Engine::load(std::string path, RunnerOptions options, Done done) {
  thread_.post([this, path = std::move(path), options = std::move(options), done = std::move(done)](bool cancelled) {
    if (cancelled) return done(kClosed);
    done(attempt([&] {
      runner_ = std::make_unique<Runner>(path, options);
      info_ = runner_->info();
      remember();
    }));
  });
}

void Engine::run(std::function<void(Runner&)> work, const volatile std::int32_t* cancel, Done done) {
  thread_.post([this, work = std::move(work), cancel, done = std::move(done)](bool cancelled) {
    if (cancelled) return done(kClosed);
    if (cancel && *cancel) return done({TORCHCLIP_E_ABORTED, "aborted"});
    done(attempt([&] {
      if (!runner_) throw Error(TORCHCLIP_E_CLOSED, "the engine has no model");
      work(*runner_);
      remember();
    }));
  });
}

void Engine::remember() {
  const auto use = runner_->memory();
  weights_ = use.weights;
  workspace_ = use.workspace;
}

void Engine::close() noexcept {
  thread_.stop();
  runner_.reset();
  weights_ = workspace_ = 0;
}

}  // namespace torchclip::core
