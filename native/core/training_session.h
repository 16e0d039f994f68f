// A trainer with the thread that runs it: libtorch's threads belong to the thread that calls it.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>

#include "base/cancel.h"
#include "base/error.h"
#include "base/job_queue.h"
#include "model/trainer.h"

namespace torchclip::core {

class TrainingSession {
 public:
  using Done = std::function<void(const Failure&)>;
  // Gets the trainer, which is null before it was made.
  using Work = std::function<void(std::unique_ptr<Trainer>&)>;

  TrainingSession() : thread_(1) {}
  ~TrainingSession() { close(); }

  // Returns at once. `done` is called exactly once on the session's thread, or on the closing thread with E_CLOSED if
  // the session is closed first. `cancel` may be null. If *cancel is not zero when the work's turn comes, it ends with
  // E_ABORTED. Throws Error(E_CLOSED / E_BUSY) if the work cannot be queued.
  void run(Work work, Cancel cancel, Done done);

  // Waits for the running work, fails the waiting work with E_CLOSED and frees the trainer. It may be called twice.
  void close() noexcept;
  // As close(), but waits at most `limit`. Returns false if the work is still running: its `done` is then never called,
  // its thread continues, and this session must never be destroyed.
  bool close_within(std::chrono::milliseconds limit) noexcept;

 private:
  std::unique_ptr<Trainer> trainer_;
  std::atomic<bool> given_up_{false};
  JobQueue thread_;
};

}  // namespace torchclip::core
