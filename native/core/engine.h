// One loaded model with its device thread, or several copies of it, each with its own thread, that share one queue
// (device "cuda:all"). The addon and the C ABI are thin wrappers around this class.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/job_queue.h"
#include "model/runner.h"

namespace torchclip::core {

class Engine {
 public:
  // More waiting batches than this are refused with E_BUSY.
  static constexpr std::size_t kQueueLimit = 1024;
  using Done = std::function<void(const Failure&)>;

  Engine() : threads_(1, kQueueLimit) {}
  ~Engine() {
    threads_.stop();
    finish_begun();
  }

  // Each call returns at once. `done` is called exactly once on a device thread, or on the closing thread with E_CLOSED
  // if the engine is closed first. Throws Error(E_CLOSED / E_BUSY) if the job cannot be queued.
  void load(std::string path, RunnerOptions options, Done done);
  // `cancel` may be null. If *cancel is not zero when the batch's turn comes, the batch ends with E_ABORTED.
  void run(std::function<void(Runner&)> work, const volatile std::int32_t* cancel, Done done);
  // As run(), for work that may begin before the results of the job before it are there. `begin` takes what the runner
  // calls once its work waits for the GPU, and returns the rest of the work, as Runner::begin_pixels does. An engine
  // with one copy of a model begins the next job of this kind before it does the rest; with several copies nothing
  // overlaps.
  using Begin = std::function<Runner::Rest(Runner&, const Runner::Rest& begun)>;
  void run_ahead(Begin begin, const volatile std::int32_t* cancel, Done done);

  // Waits for the running batch, fails the waiting ones with E_CLOSED and frees the model. It may be called twice. The
  // code of a third-party export may never return: after kPatience its batch is abandoned and the result is false. Its
  // `done` is then never called, its thread continues, and this engine must never be destroyed.
  static constexpr std::chrono::seconds kPatience{2};
  bool close() noexcept;

  const ModelInfo& info() const { return info_; }
  // The memory use after the last batch that finished.
  MemoryUse memory() const;
  std::size_t waiting() { return threads_.waiting(); }

 private:
  class RunnerLease;
  // A job whose rest is not done yet.
  struct Begun {
    Runner::Rest rest;
    Done done;
  };
  void remember(const Runner& runner);
  void finish_begun();

  std::vector<std::unique_ptr<Runner>> runners_;
  mutable std::mutex mutex_;
  std::vector<Runner*> idle_;  // One for each thread without work.
  std::map<const Runner*, MemoryUse> uses_;
  MemoryUse memory_;  // The sum of uses_.
  ModelInfo info_;
  std::mutex closing_;          // One thread closes at a time; a second one waits for the first.
  std::optional<Begun> begun_;  // Of an engine with one copy: its thread uses it, and what stops the thread.
  std::atomic<bool> third_party_{false}, given_up_{false};
  JobQueue threads_;
};

}  // namespace torchclip::core
