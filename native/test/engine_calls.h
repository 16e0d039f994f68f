// Calls of an engine that are waited for.
#pragma once

#include <functional>
#include <future>
#include <utility>

#include "check.h"
#include "engine.h"

namespace torchclip::test {

// The outcome of a job of an engine: `start` gives it to the engine with what must be called at its end.
inline Outcome outcome_of_job(const std::function<void(core::Engine::Done)>& start) {
  std::promise<core::Failure> end;
  const Outcome queued = outcome_of([&] { start([&end](const core::Failure& failure) { end.set_value(failure); }); });
  if (!(queued == TORCHCLIP_OK)) return queued;
  const core::Failure failure = end.get_future().get();
  return {failure.status, failure.message};
}

// Loads the artifact that is the program's first argument.
inline Outcome load(core::Engine& engine, const core::RunnerOptions& options) {
  return outcome_of_job([&](core::Engine::Done done) { engine.load(arguments().at(0), options, std::move(done)); });
}

}  // namespace torchclip::test
