// Functions of the addon that need no engine. See lib/addon.ts for their signatures.
#pragma once

#include <napi.h>

namespace torchclip::addon {

Napi::Value preprocess(const Napi::CallbackInfo& info);
Napi::Value free_buffer(const Napi::CallbackInfo& info);
Napi::Value similarity(const Napi::CallbackInfo& info);
Napi::Value top_k(const Napi::CallbackInfo& info);
Napi::Value fit_linear_probe(const Napi::CallbackInfo& info);
Napi::Value fit_lp_plus_plus(const Napi::CallbackInfo& info);
Napi::Value probe_logits(const Napi::CallbackInfo& info);
Napi::Value fit_prolip(const Napi::CallbackInfo& info);
Napi::Value image_projection(const Napi::CallbackInfo& info);
Napi::Value model_layout(const Napi::CallbackInfo& info);
Napi::Value verify_artifact(const Napi::CallbackInfo& info);
Napi::Value write_artifact(const Napi::CallbackInfo& info);
Napi::Value write_tower_module(const Napi::CallbackInfo& info);
Napi::Value probe_torchscript(const Napi::CallbackInfo& info);
Napi::Value wrap_torchscript(const Napi::CallbackInfo& info);
Napi::Value product_speed(const Napi::CallbackInfo& info);
Napi::Value fix_encoding(const Napi::CallbackInfo& info);
Napi::Value set_backend_places(const Napi::CallbackInfo& info);
Napi::Value system_info(const Napi::CallbackInfo& info);
Napi::Value libtorch_info(const Napi::CallbackInfo& info);
Napi::Value shutdown(const Napi::CallbackInfo& info);

}  // namespace torchclip::addon
