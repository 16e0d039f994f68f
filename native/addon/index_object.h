// The JavaScript object that holds a search index. See lib/addon.ts for the signatures.
#pragma once

#include <memory>

#include "environment.h"
#include "search/index.h"

namespace torchclip::addon {

class IndexObject : public Napi::ObjectWrap<IndexObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit IndexObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value stage(const Napi::CallbackInfo& info);
  Napi::Value commit(const Napi::CallbackInfo& info);
  Napi::Value discard(const Napi::CallbackInfo& info);
  Napi::Value place(const Napi::CallbackInfo& info);
  Napi::Value upload(const Napi::CallbackInfo& info);
  Napi::Value search(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value rows(const Napi::CallbackInfo& info);
  Napi::Value dim(const Napi::CallbackInfo& info);
  Napi::Value bytes(const Napi::CallbackInfo& info);
  Napi::Value gpu_bytes(const Napi::CallbackInfo& info);

  std::shared_ptr<core::Index> index_;
};

}  // namespace torchclip::addon
