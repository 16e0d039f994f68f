#include "functions.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "arguments.h"
#include "environment.h"
#include "image/preprocess.h"
#include "model/artifact/image_projection.h"
#include "model/artifact/tower_module.h"
#include "model/artifact/writer.h"
#include "model/artifact_verifier.h"
#include "model/backend_library.h"
#include "model/config/fields.h"
#include "model/config/model_config.h"
#include "model/system.h"
#include "model/torchscript_export.h"
#include "search/index.h"
#include "search/top_k.h"
#include "text/mojibake.h"
#include "text/unicode.h"

namespace torchclip::addon {
// preprocess(pixels: Uint8Array, width: number, height: number, channels: number, transform: NativeTransform,
//            out: Uint8Array, slot: number): Promise<void>
Napi::Value preprocess(const Napi::CallbackInfo& info) {
  const auto width = static_cast<std::int32_t>(whole(info[1], 1, core::kMostSide, "width"));
  const auto height = static_cast<std::int32_t>(whole(info[2], 1, core::kMostSide, "height"));
  const auto channels = static_cast<std::int32_t>(whole(info[3], 1, 4, "channels"));
  const auto given = object(info[4], "transform");
  const core::Transform transform{
      static_cast<std::int32_t>(whole(given.Get("size"), 1, core::kMostPixels, "size")),
      static_cast<core::Resize>(whole(given.Get("resize"), 0, 2, "resize")),
      static_cast<core::Filter>(whole(given.Get("filter"), 0, 4, "filter")),
      static_cast<std::uint8_t>(whole(given.Get("fill"), 0, 255, "fill")),
      static_cast<std::int32_t>(whole(given.Get("resized"), 0, core::kMostPixels, "resized")),
      static_cast<core::Crop>(whole(given.Get("crop"), 0, 1, "crop"))};
  const auto slot = whole(info[6], 0, 1 << 20, "slot");
  const std::int64_t bytes = std::int64_t{transform.size} * transform.size * 3;
  const auto* pixels =
      elements_of<std::uint8_t>(info[0], napi_uint8_array, std::int64_t{width} * height * channels, "pixels");
  auto* out = elements_of<std::uint8_t>(info[5], napi_uint8_array, (slot + 1) * bytes, "out") + slot * bytes;
  auto job = std::make_unique<Job>(info.Env());
  job->keep(info[0]);
  job->keep(info[5]);
  return Environment::of(info.Env()).start<Job>(info.Env(), std::move(job), [=](Job&) {
    core::preprocess({pixels, width, height, channels}, transform, out);
  });
}

// freeBuffer(buffer: ArrayBuffer): void
Napi::Value free_buffer(const Napi::CallbackInfo& info) {
  if (!info[0].IsArrayBuffer()) throw argument_error(info.Env(), "buffer is not an ArrayBuffer");
  info[0].As<Napi::ArrayBuffer>().Detach();
  return info.Env().Undefined();
}

// similarity(a: Float32Array, aRows: number, b: Float32Array, bRows: number, dim: number, device: string, out:
// Float32Array): void
Napi::Value similarity(const Napi::CallbackInfo& info) {
  const auto a_rows = whole(info[1], 1, 1 << 30, "aRows"), b_rows = whole(info[3], 1, 1 << 30, "bRows");
  const auto dim = static_cast<std::int32_t>(whole(info[4], 1, 1 << 20, "dim"));
  const auto device = text(info[5], "device");
  const auto* a = elements_of<float>(info[0], napi_float32_array, a_rows * dim, "a");
  const auto* b = elements_of<float>(info[2], napi_float32_array, b_rows * dim, "b");
  auto* out = elements_of<float>(info[6], napi_float32_array, a_rows * b_rows, "out");
  now(info.Env(), [&] { core::similarity(a, a_rows, b, b_rows, dim, device.c_str(), out); });
  return info.Env().Undefined();
}

// topK(queries: Float32Array, queryRows: number, base: Float32Array, baseRows: number, firstRow: number, dim: number,
//      k: number, device: string, indices: Int32Array, scores: Float32Array): Promise<void>
Napi::Value top_k(const Napi::CallbackInfo& info) {
  const auto query_rows = whole(info[1], 1, 1 << 30, "queryRows");
  const auto base_rows = whole(info[3], 1, 1 << 30, "baseRows"), first_row = whole(info[4], 0, 1 << 30, "firstRow");
  const auto dim = static_cast<std::int32_t>(whole(info[5], 1, core::kMostDim, "dim"));
  const auto k = static_cast<std::int32_t>(whole(info[6], 1, first_row + base_rows, "k"));
  const auto device = text(info[7], "device");
  const auto* queries = elements_of<float>(info[0], napi_float32_array, query_rows * dim, "queries");
  const auto* base = elements_of<float>(info[2], napi_float32_array, base_rows * dim, "base");
  auto* indices = elements_of<std::int32_t>(info[8], napi_int32_array, query_rows * k, "indices");
  auto* scores = elements_of<float>(info[9], napi_float32_array, query_rows * k, "scores");
  auto job = std::make_unique<Job>(info.Env());
  for (const std::size_t i : {0u, 2u, 8u, 9u}) job->keep(info[i]);
  return Environment::of(info.Env()).start<Job>(info.Env(), std::move(job), [=](Job&) {
    const core::BaseBlock block{base, base_rows, first_row};
    core::top_k_of_block(queries, query_rows, block, dim, k, device.c_str(), indices, scores);
  });
}

// productSpeed(precision: 0 | 1 | 2 | 3, seconds: number): Promise<number>
Napi::Value product_speed(const Napi::CallbackInfo& info) {
  const auto precision = static_cast<core::Precision>(whole(info[0], 0, 3, "precision"));
  constexpr double kMostSeconds = 60;
  const double seconds = info[1].IsNumber() ? info[1].As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(seconds > 0 && seconds <= kMostSeconds)) throw argument_error(info.Env(), "seconds is not in 0 to 60");
  auto job = std::make_unique<NumberJob>(info.Env());
  return Environment::of(info.Env()).start<NumberJob>(info.Env(), std::move(job), [=](NumberJob& j) {
    j.value = core::gemm_peak(precision, seconds);
  });
}

// imageProjection(path: string, embedDim: number, pooledDim: number, matrix: Float32Array, bias: Float32Array):
// Promise<number>
Napi::Value image_projection(const Napi::CallbackInfo& info) {
  auto file = path(info[0], "path");
  const auto embed_dim = whole(info[1], 1, core::kMostWidth, "embedDim");
  const auto pooled_dim = whole(info[2], 1, core::kMostWidth, "pooledDim");
  auto* matrix = elements_of<float>(info[3], napi_float32_array, embed_dim * pooled_dim, "matrix");
  auto* bias = elements_of<float>(info[4], napi_float32_array, embed_dim, "bias");
  auto job = std::make_unique<NumberJob>(info.Env());
  job->keep(info[3]);
  job->keep(info[4]);
  return Environment::of(info.Env()).start<NumberJob>(info.Env(), std::move(job), [=](NumberJob& j) {
    const core::Artifact artifact(file);
    const auto& config = artifact.config();
    if (config.embed_dim != embed_dim || config.image.pooled_dim != pooled_dim) {
      throw core::Error(TORCHCLIP_E_MODEL_CORRUPT, file + " has changed since it was loaded");
    }
    j.value = static_cast<double>(core::read_image_projection(artifact, matrix, bias));
  });
}

// modelLayout(config: string): NativeLayout
Napi::Value model_layout(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  const auto config = now(env, [&] { return core::ModelConfig::parse(text(info[0], "config")); });
  auto shapes = Napi::Array::New(env);
  for (const auto& [name, shape] : config.shapes()) {
    auto axes = Napi::Array::New(env);
    for (const auto axis : shape) axes.Set(axes.Length(), static_cast<double>(axis));
    auto entry = Napi::Array::New(env);
    entry.Set(0u, name);
    entry.Set(1u, axes);
    shapes.Set(shapes.Length(), entry);
  }
  auto modules = Napi::Array::New(env);
  for (const auto& [path, source] : config.modules()) {
    auto module = Napi::Object::New(env);
    module.Set("path", path);
    module.Set("source", source);
    modules.Set(modules.Length(), module);
  }
  auto layout = Napi::Object::New(env);
  layout.Set("shapes", shapes);
  layout.Set("modules", modules);
  return layout;
}

namespace {

core::TensorPart part_of(const Napi::Object& from) {
  const auto string_of = [&](const char* key) { return text(from.Get(key), key); };
  const auto number_of = [&](const char* key) {
    return static_cast<std::uint64_t>(whole(from.Get(key), 0, 1LL << 52, key));
  };
  core::TensorPart part{string_of("file"),
                        number_of("offset"),
                        number_of("bytes"),
                        string_of("dtype"),
                        {},
                        from.Get("transpose").ToBoolean()};
  const auto shape = list(from.Get("shape"), "shape");
  for (std::uint32_t i = 0; i < shape.Length(); ++i) part.shape.push_back(whole(shape.Get(i), 0, 1LL << 40, "shape"));
  return part;
}

core::ArtifactSpec spec_of(const Napi::Object& from) {
  core::ArtifactSpec spec{text(from.Get("config"), "config"), text(from.Get("tokenizer"), "tokenizer"), {}};
  const auto tensors = list(from.Get("tensors"), "tensors");
  for (std::uint32_t i = 0; i < tensors.Length(); ++i) {
    const auto tensor = object(tensors.Get(i), "a tensor");
    core::TensorSpec found{text(tensor.Get("name"), "name"), {}, text(tensor.Get("dtype"), "dtype")};
    const auto parts = list(tensor.Get("parts"), "parts");
    for (std::uint32_t k = 0; k < parts.Length(); ++k) found.parts.push_back(part_of(object(parts.Get(k), "a part")));
    spec.tensors.push_back(std::move(found));
  }
  return spec;
}

}  // namespace

// writeArtifact(spec: ArtifactSpec, path: string): Promise<void>
Napi::Value write_artifact(const Napi::CallbackInfo& info) {
  auto spec = spec_of(object(info[0], "spec"));
  auto job = std::make_unique<Job>(info.Env());
  return Environment::of(info.Env())
      .start<Job>(info.Env(), std::move(job), [spec = std::move(spec), path = addon::path(info[1], "path")](Job&) {
        core::write_artifact(spec, path);
      });
}

// writeTowerModule(artifact: string, tower: "image" | "text", precision: "fp32" | "fp16", path: string): Promise<void>
Napi::Value write_tower_module(const Napi::CallbackInfo& info) {
  const auto tower = text(info[1], "tower") == "image" ? core::TowerKind::image : core::TowerKind::text;
  const auto type = text(info[2], "precision") == "fp16" ? core::StoredType::f16 : core::StoredType::f32;
  auto job = std::make_unique<Job>(info.Env());
  return Environment::of(info.Env())
      .start<Job>(info.Env(), std::move(job),
                  [=, artifact = path(info[0], "artifact"), output = path(info[3], "path")](Job&) {
                    core::write_tower_module(artifact, tower, type, output);
                  });
}

// probeTorchScript(path: string, imageSize: number, contextLength: number): Promise<number>
Napi::Value probe_torchscript(const Napi::CallbackInfo& info) {
  const auto image_size = whole(info[1], 1, core::kMostPixels, "imageSize");
  const auto length = whole(info[2], 1, core::kMostTokens, "contextLength");
  auto job = std::make_unique<NumberJob>(info.Env());
  return Environment::of(info.Env())
      .start<NumberJob>(info.Env(), std::move(job), [=, path = addon::path(info[0], "path")](NumberJob& j) {
        j.value = static_cast<double>(core::probe_torchscript(path, image_size, length));
      });
}

// wrapTorchScript(path: string, config: string, tokenizer: string, output: string): Promise<void>
Napi::Value wrap_torchscript(const Napi::CallbackInfo& info) {
  auto job = std::make_unique<Job>(info.Env());
  return Environment::of(info.Env())
      .start<Job>(info.Env(), std::move(job),
                  [path = addon::path(info[0], "path"), config = text(info[1], "config"),
                   tokenizer = text(info[2], "tokenizer"), output = path(info[3], "output")](Job&) {
                    core::wrap_torchscript(path, config, tokenizer, output);
                  });
}

// verifyArtifact(path: string): Promise<void>
Napi::Value verify_artifact(const Napi::CallbackInfo& info) {
  auto job = std::make_unique<Job>(info.Env());
  return Environment::of(info.Env())
      .start<Job>(info.Env(), std::move(job),
                  [path = addon::path(info[0], "path")](Job&) { core::verify_artifact(path); });
}

// fixEncoding(text: string): string
Napi::Value fix_encoding(const Napi::CallbackInfo& info) {
  if (!info[0].IsString()) throw argument_error(info.Env(), "text is not a string");
  const auto fixed = core::fix_encoding(core::from_utf16(info[0].As<Napi::String>().Utf16Value()));
  return Napi::String::New(info.Env(), core::to_utf16(fixed));
}

// setBackendPlaces(folders: string[], libtorch: string): void
Napi::Value set_backend_places(const Napi::CallbackInfo& info) {
  core::BackendPlaces places{{}, path(info[1], "libtorch")};
  const auto folders = list(info[0], "folders");
  for (std::uint32_t i = 0; i < folders.Length(); ++i) places.folders.push_back(path(folders.Get(i), "a folder"));
  core::set_backend_places(std::move(places));
  return info.Env().Undefined();
}

// systemInfo(): NativeSystem
Napi::Value system_info(const Napi::CallbackInfo& info) {
  const auto system = core::system_info();
  auto o = Napi::Object::New(info.Env());
  o.Set("version", TORCHCLIP_VERSION);
  o.Set("cudaProblem", system.cuda_problem);
  o.Set("fastCudaProblem", system.fast_cuda_problem);
  o.Set("cudaDevices", system.cuda_devices);
  auto features = Napi::Array::New(info.Env());
  for (const auto& feature : system.cpu_features) features.Set(features.Length(), feature);
  o.Set("cpuFeatures", features);
  return o;
}

// libtorchInfo(): { version: string, cpuCapability: string }; opens libtorch.
Napi::Value libtorch_info(const Napi::CallbackInfo& info) {
  const auto libtorch = now(info.Env(), [] { return core::libtorch_info(); });
  auto o = Napi::Object::New(info.Env());
  o.Set("version", libtorch.version);
  o.Set("cpuCapability", libtorch.cpu_capability);
  return o;
}

// shutdown(code: number): void; ends the process at once, with that exit code, where third-party code does not return.
Napi::Value shutdown(const Napi::CallbackInfo& info) {
  auto& environment = Environment::of(info.Env());
  environment.channel.mute();
  if (!environment.stop()) {
    std::fflush(nullptr);
    std::_Exit(static_cast<int>(whole(info[0], 0, 255, "code")));
  }
  return info.Env().Undefined();
}

}  // namespace torchclip::addon
