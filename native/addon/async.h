// Work that leaves the JavaScript thread and comes back as a settled promise.
//
// Lifetime rules: a Job is made and destroyed on the JavaScript thread, which alone touches its N-API values.
// Other threads call `run` and `settle` only. An environment with nothing pending lets the process exit
// (the channel is unreferenced); its teardown hook stops the threads before the environment goes away.
#pragma once

#include <napi.h>

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/job_queue.h"

namespace torchclip::addon {

class Channel;

class Job {
 public:
  explicit Job(Napi::Env env) : deferred_(Napi::Promise::Deferred::New(env)) {}
  virtual ~Job() = default;

  Napi::Promise promise() const { return deferred_.Promise(); }
  // Keeps an object alive until the promise is settled, and of a typed array its buffer too. What that does not protect
  // from is said in arguments.h.
  void keep(const Napi::Value& value);

  core::Failure failure;

 protected:
  // The value that the promise resolves with; on the JavaScript thread.
  virtual Napi::Value result(Napi::Env env) { return env.Undefined(); }

 private:
  friend class Channel;
  void settle(Napi::Env env);
  void abandon();

  Napi::Promise::Deferred deferred_;
  std::vector<Napi::ObjectReference> kept_;
};

// Resolves with a number.
class NumberJob : public Job {
 public:
  using Job::Job;
  double value = 0;

 protected:
  Napi::Value result(Napi::Env env) override { return Napi::Number::New(env, value); }
};

// One per environment: carries finished jobs back to its JavaScript thread.
class Channel {
 public:
  explicit Channel(Napi::Env env);

  // From any thread, once per job that `start` handed over.
  void finish(Job* job);
  // From any thread: nothing is carried back any more (the process is ending); finished jobs are left as they are.
  void mute() { muted_ = true; }
  // On the JavaScript thread: starts a job and returns its promise. `post(job)` hands it to another thread, which ends
  // with `finish`; what `post` throws settles the job at once.
  template <typename J, typename Post>
  Napi::Value start(Napi::Env env, std::unique_ptr<J> job, Post&& post) {
    auto promise = job->promise();
    try {
      post(job.get());
    } catch (...) {
      return fail_now(env, std::move(job));
    }
    begin(env);
    static_cast<void>(job.release());  // settled and deleted by `deliver`
    return promise;
  }
  // What work that tells how it ended calls at its end.
  auto finisher(Job* job) {
    return [this, job](const core::Failure& failure) {
      job->failure = failure;
      finish(job);
    };
  }

 private:
  // Keeps the process alive while a job is with another thread.
  void begin(Napi::Env env);
  // Settles a job with the exception in flight.
  Napi::Value fail_now(Napi::Env env, std::unique_ptr<Job> job);
  static void deliver(Napi::Env env, Napi::Function, Channel* self, Job* job);
  using Function = Napi::TypedThreadSafeFunction<Channel, Job, Channel::deliver>;
  Function function_;
  int pending_ = 0;
  std::atomic<bool> muted_ = false;
};

Napi::Error to_js(Napi::Env env, const core::Failure& failure);

// Runs `work` on the JavaScript thread at once; what it throws becomes a JavaScript error with its code.
template <typename Work>
auto now(Napi::Env env, Work&& work) {
  try {
    return work();
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception&) {
    throw to_js(env, core::current_failure());
  }
}

}  // namespace torchclip::addon
