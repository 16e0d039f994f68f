#include "training_session.h"

#include <utility>

namespace torchclip::core {

void TrainingSession::run(Work work, Cancel cancel, Done done) {
  thread_.post([this, work = std::move(work), cancel, done = std::move(done)](bool cancelled) {
    Failure failure;
    try {
      if (cancelled) throw Error(TORCHCLIP_E_CLOSED, "the trainer was closed before the work was done");
      check_cancel(cancel);
      work(trainer_);
    } catch (...) {
      failure = current_failure();
    }
    if (!given_up_) done(failure);
  });
}

void TrainingSession::close() noexcept {
  thread_.stop();
  trainer_.reset();
}

bool TrainingSession::close_within(std::chrono::milliseconds limit) noexcept {
  if (!thread_.stop_within(limit)) {
    given_up_ = true;
    return false;
  }
  trainer_.reset();
  return true;
}

}  // namespace torchclip::core
