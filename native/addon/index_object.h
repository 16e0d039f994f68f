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
  Napi::Value add(const Napi::CallbackInfo& info);
  Napi::Value search(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value rows(const Napi::CallbackInfo& info);
  Napi::Value dim(const Napi::CallbackInfo& info);
  Napi::Value bytes(const Napi::CallbackInfo& info);

  // An add and a search never run together: JavaScript awaits one before the other (lib/search).
  std::shared_ptr<core::Index> index_;
};

}  // namespace torchclip::addon
