// The JavaScript object that holds an engine. See lib/addon.ts for the signatures.
#pragma once

#include "environment.h"

namespace torchclip::addon {

class EngineObject : public Napi::ObjectWrap<EngineObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit EngineObject(const Napi::CallbackInfo& info);
  ~EngineObject() override;

 private:
  Napi::Value load(const Napi::CallbackInfo& info);
  Napi::Value encode_pixels(const Napi::CallbackInfo& info);
  Napi::Value encode_images(const Napi::CallbackInfo& info);
  Napi::Value encode_tokens(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);

  std::int64_t row_floats(Napi::Env env, core::ImageOutput output) const;

  using Rest = core::Runner::Rest;
  using Work = std::function<Rest(core::Runner&, const Rest& begun, const volatile std::int32_t* cancel)>;

  Napi::Value run(const Napi::CallbackInfo& info, const Napi::Value& cancel, const std::vector<Napi::Value>& keep,
                  Work work);

  std::shared_ptr<core::Engine> engine_ = std::make_shared<core::Engine>();
  std::shared_ptr<EngineSet> engines_;
};

}  // namespace torchclip::addon
