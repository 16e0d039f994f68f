// One loaded model with its device thread, or several copies of it, each with a thread of its own, that share one queue
// (device "cuda:all"). The addon and the C ABI are two thin faces of this class.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/job_queue.h"
#include "model/runner.h"

namespace torchclip::core {

class Engine {
 public:
  // Waiting batches beyond this are refused with E_BUSY.
  static constexpr std::size_t kQueueLimit = 1024;
  using Done = std::function<void(const Failure&)>;

  Engine() : threads_(1, kQueueLimit) {}
  ~Engine() { threads_.stop(); }

  // Each call returns at once; `done` is called exactly once, on a device thread (or, where the engine is closed
  // first, on the closing thread with E_CLOSED). Throws Error(E_CLOSED / E_BUSY) where the job cannot be queued.
  void load(std::string path, RunnerOptions options, Done done);
  // `cancel` may be null; where *cancel is not zero when the batch's turn comes, it ends with E_ABORTED.
  void run(std::function<void(Runner&)> work, const volatile std::int32_t* cancel, Done done);

  // Lets the running batch end, fails the waiting ones with E_CLOSED, frees the model. Safe to call twice. The code of
  // a third-party export may never return: after kPatience its batch is given up and the result is false. Nobody is
  // told of its end then, its thread goes on, and this engine must stay for ever.
  static constexpr std::chrono::seconds kPatience{2};
  bool close() noexcept;

  const ModelInfo& info() const { return info_; }
  // As of the last batch that ended.
  MemoryUse memory() const noexcept { return {weights_.load(), workspace_.load()}; }
  std::size_t waiting() { return threads_.waiting(); }

 private:
  class RunnerLease;
  void remember(const Runner& runner);

  std::vector<std::unique_ptr<Runner>> runners_;
  std::mutex mutex_;
  std::vector<Runner*> idle_;  // as many as there are threads without work
  std::map<const Runner*, MemoryUse> uses_;
  ModelInfo info_;
  std::atomic<std::uint64_t> weights_{0}, workspace_{0};
  std::atomic<bool> third_party_{false}, given_up_{false};
  JobQueue threads_;
};

}  // namespace torchclip::core
