#include "async.h"

namespace torchclip::addon {

Napi::Error to_js(Napi::Env env, const core::Failure& failure) {
  auto error = Napi::Error::New(env, failure.message);
  error.Set("code", torchclip_status_name(failure.status));
  return error;
}

void Job::keep(const Napi::Value& value) {
  kept_.push_back(Napi::Persistent(value.As<Napi::Object>()));
  if (!value.IsTypedArray()) return;
  const Napi::Value buffer = value.As<Napi::TypedArray>().ArrayBuffer();
  kept_.push_back(Napi::Persistent(buffer.As<Napi::Object>()));
}

void Job::settle(Napi::Env env) {
  if (failure.status == TORCHCLIP_OK) {
    deferred_.Resolve(result(env));
  } else {
    deferred_.Reject(to_js(env, failure).Value());
  }
}

// The references died with their environment; deleting them once more would touch freed memory.
void Job::abandon() {
  for (auto& reference : kept_) reference.SuppressDestruct();
}

Channel::Channel(Napi::Env env) {
  function_ = Function::New(env, "torchclip", 0, 1, this);
  function_.Unref(env);
}

void Channel::begin(Napi::Env env) {
  if (pending_++ == 0) function_.Ref(env);
}

void Channel::finish(Job* job) {
  if (!muted_) function_.NonBlockingCall(job);
}

Napi::Value Channel::fail_now(Napi::Env env, std::unique_ptr<Job> job) {
  job->failure = core::current_failure();
  job->settle(env);
  return job->promise();
}

void Channel::deliver(Napi::Env env, Napi::Function, Channel* self, Job* job) {
  std::unique_ptr<Job> owned(job);
  // A null environment is being torn down: nobody waits, and its references went with it.
  if (env == nullptr) return owned->abandon();
  if (--self->pending_ == 0) self->function_.Unref(env);
  try {
    Napi::HandleScope scope(env);
    owned->settle(env);
  } catch (const Napi::Error&) {
    // A worker that is being terminated refuses every call into JavaScript; nobody waits there any more.
  }
}

}  // namespace torchclip::addon
