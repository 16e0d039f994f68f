#include "engine.h"

#include <utility>

#include "base/platform_memory.h"

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

// A runner that this thread alone uses for a while.
class Engine::RunnerLease {
 public:
  explicit RunnerLease(Engine& engine) : engine_(engine) {
    std::lock_guard lock(engine_.mutex_);
    if (engine_.idle_.empty()) return;
    runner_ = engine_.idle_.back();
    engine_.idle_.pop_back();
  }
  ~RunnerLease() {
    if (!runner_) return;
    std::lock_guard lock(engine_.mutex_);
    engine_.idle_.push_back(runner_);
  }
  RunnerLease(const RunnerLease&) = delete;
  RunnerLease& operator=(const RunnerLease&) = delete;
  Runner* get() const { return runner_; }

 private:
  Engine& engine_;
  Runner* runner_ = nullptr;
};

void Engine::load(std::string path, RunnerOptions options, Done done) {
  threads_.post([this, path = std::move(path), options = std::move(options), done = std::move(done)](bool cancelled) {
    if (cancelled) return done(kClosed);
    third_party_ = options.trust_code;
    const auto failure = attempt([&] {
      std::string devices;
      for (const auto& device : devices_of(options)) {
        auto device_options = options;
        device_options.device = device;
        runners_.push_back(std::make_unique<Runner>(path, device_options));
        devices += (devices.empty() ? "" : ",") + runners_.back()->info().device;
      }
      info_ = runners_.front()->info();
      if (runners_.size() > 1) info_.device = devices;
      info_.replicas = static_cast<std::int32_t>(runners_.size());
      for (const auto& runner : runners_) remember(*runner);
      {
        std::lock_guard lock(mutex_);
        for (const auto& runner : runners_) idle_.push_back(runner.get());
      }
      threads_.grow(static_cast<unsigned>(runners_.size()));
      third_party_ = info_.third_party;
    });
    if (!given_up_) done(failure);
  });
}

void Engine::run(std::function<void(Runner&)> work, const volatile std::int32_t* cancel, Done done) {
  run_ahead(
      [this, work = std::move(work)](Runner& runner, const Runner::Rest&) -> Runner::Rest {
        finish_begun();
        work(runner);
        return {};
      },
      cancel, std::move(done));
}

void Engine::run_ahead(Begin begin, const volatile std::int32_t* cancel, Done done) {
  threads_.post([this, begin = std::move(begin), cancel, done = std::move(done)](bool cancelled) {
    if (cancelled) return done(kClosed);
    Failure failure{TORCHCLIP_E_ABORTED, "aborted"};
    Runner::Rest rest;
    // The runner is idle again before anybody hears of the end.
    if (!cancel || !*cancel) {
      failure = attempt([&] {
        const RunnerLease runner(*this);
        if (!runner.get()) throw Error(TORCHCLIP_E_CLOSED, "the engine has no model");
        rest = begin(*runner.get(), [this] { finish_begun(); });
        if (rest && runners_.size() > 1) std::exchange(rest, {})();
        if (!rest) remember(*runner.get());
      });
    }
    finish_begun();
    if (rest) {
      begun_ = Begun{std::move(rest), done};
    } else if (!given_up_) {
      done(failure);
    }
    // The next job does the rest when it has begun; where there is none, nobody else would.
    if (threads_.waiting() == 0) finish_begun();
  });
}

void Engine::finish_begun() {
  if (!begun_) return;
  const Begun begun = std::move(*begun_);
  begun_.reset();
  const auto failure = attempt([&] {
    begun.rest();
    remember(*runners_.front());
  });
  begun.done(failure);
}

void Engine::remember(const Runner& runner) {
  std::lock_guard lock(mutex_);
  uses_[&runner] = runner.memory();
  memory_ = {};
  for (const auto& [of, use] : uses_) {
    memory_.weights += use.weights;
    memory_.workspace += use.workspace;
    memory_.graphs += use.graphs;
    memory_.refused_graphs += use.refused_graphs;
    if (!use.graph_problem.empty()) memory_.graph_problem = use.graph_problem;
  }
}

MemoryUse Engine::memory() const {
  std::lock_guard lock(mutex_);
  return memory_;
}

bool Engine::close() noexcept {
  const std::lock_guard closing(closing_);
  if (third_party_) {
    if (!threads_.stop_within(kPatience)) {
      given_up_ = true;
      return false;
    }
  } else {
    threads_.stop();
  }
  finish_begun();
  idle_.clear();
  uses_.clear();
  const bool held = !runners_.empty();
  runners_.clear();
  if (held) release_free_memory();
  {
    std::lock_guard lock(mutex_);
    memory_ = {};
  }
  return true;
}

}  // namespace torchclip::core
