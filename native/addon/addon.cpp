// The export table.
#include <napi.h>

#include "engine_object.h"
#include "environment.h"
#include "functions.h"
#include "index_object.h"
#include "trainer_object.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  using namespace torchclip::addon;
  env.SetInstanceData(new Environment(env));
  exports.Set("Engine", EngineObject::define(env));
  exports.Set("Index", IndexObject::define(env));
  exports.Set("Trainer", TrainerObject::define(env));
  exports.Set("preprocess", Napi::Function::New(env, preprocess));
  exports.Set("freeBuffer", Napi::Function::New(env, free_buffer));
  exports.Set("similarity", Napi::Function::New(env, similarity));
  exports.Set("topK", Napi::Function::New(env, top_k));
  exports.Set("fitLinearProbe", Napi::Function::New(env, fit_linear_probe));
  exports.Set("fitLpPlusPlus", Napi::Function::New(env, fit_lp_plus_plus));
  exports.Set("probeLogits", Napi::Function::New(env, probe_logits));
  exports.Set("fitProlip", Napi::Function::New(env, fit_prolip));
  exports.Set("imageProjection", Napi::Function::New(env, image_projection));
  exports.Set("modelLayout", Napi::Function::New(env, model_layout));
  exports.Set("verifyArtifact", Napi::Function::New(env, verify_artifact));
  exports.Set("writeArtifact", Napi::Function::New(env, write_artifact));
  exports.Set("writeTowerModule", Napi::Function::New(env, write_tower_module));
  exports.Set("probeTorchScript", Napi::Function::New(env, probe_torchscript));
  exports.Set("wrapTorchScript", Napi::Function::New(env, wrap_torchscript));
  exports.Set("productSpeed", Napi::Function::New(env, product_speed));
  exports.Set("fixEncoding", Napi::Function::New(env, fix_encoding));
  exports.Set("setBackendPlaces", Napi::Function::New(env, set_backend_places));
  exports.Set("systemInfo", Napi::Function::New(env, system_info));
  exports.Set("libtorchInfo", Napi::Function::New(env, libtorch_info));
  exports.Set("shutdown", Napi::Function::New(env, shutdown));
  return exports;
}

}  // namespace

NODE_API_MODULE(torchclip, init)
