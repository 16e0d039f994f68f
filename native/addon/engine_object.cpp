#include "engine_object.h"

#include <chrono>

#include "arguments.h"

namespace torchclip::addon {
namespace {

class LoadJob : public Job {
 public:
  using Job::Job;
  core::ModelInfo info;

 protected:
  Napi::Value result(Napi::Env env) override {
    auto o = Napi::Object::New(env);
    o.Set("imageSize", info.image_size);
    o.Set("contextLength", info.context_length);
    o.Set("embedDim", info.embed_dim);
    o.Set("pooledDim", info.pooled_dim);
    o.Set("vocabSize", info.vocab_size);
    o.Set("logitScale", info.logit_scale);
    o.Set("logitBias", info.logit_bias);
    o.Set("trims", info.trims);
    o.Set("replicas", info.replicas);
    o.Set("device", info.device);
    o.Set("precision", info.precision);
    o.Set("imageRunner", info.image_runner);
    o.Set("textRunner", info.text_runner);
    o.Set("deviceNote", info.device_note);
    auto extra = Napi::Object::New(env);
    for (const auto& [name, content] : info.extra) extra.Set(name, content);
    o.Set("extra", extra);
    return o;
  }
};

core::ImageOutput image_output(const Napi::Value& value) {
  return static_cast<core::ImageOutput>(whole(value, 0, 1, "output"));
}

}  // namespace

Napi::Function EngineObject::define(Napi::Env env) {
  return DefineClass(
      env, "Engine",
      {InstanceMethod("load", &EngineObject::load), InstanceMethod("encodePixels", &EngineObject::encode_pixels),
       InstanceMethod("encodeImages", &EngineObject::encode_images),
       InstanceMethod("encodeTokens", &EngineObject::encode_tokens), InstanceMethod("close", &EngineObject::close),
       InstanceMethod("memory", &EngineObject::memory)});
}

EngineObject::EngineObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<EngineObject>(info), engines_(Environment::of(info.Env()).engines()) {
  engines_->insert(engine_);
}

// Collected without close(): the environment forgets the engine, and the last reference closes it.
EngineObject::~EngineObject() { engines_->erase(engine_); }

// load(path: string, device: string, precision: string, threads: number, generic: boolean, deterministic: boolean,
// trustCode: boolean, towers: 0 | 1 | 2): Promise<NativeInfo>
Napi::Value EngineObject::load(const Napi::CallbackInfo& info) {
  core::RunnerOptions options;
  options.device = text(info[1], "device");
  options.precision = text(info[2], "precision");
  options.threads = static_cast<std::int32_t>(whole(info[3], 0, core::kMostThreads, "threads"));
  options.generic = info[4].ToBoolean();
  options.deterministic = info[5].ToBoolean();
  options.trust_code = info[6].ToBoolean();
  options.towers = static_cast<core::TowerChoice>(whole(info[7], 0, 2, "towers"));
  const auto file = path(info[0], "path");
  auto job = std::make_unique<LoadJob>(info.Env());
  job->keep(info.This());
  auto& channel = Environment::of(info.Env()).channel;
  return channel.start(info.Env(), std::move(job), [&](LoadJob* raw) {
    engine_->load(file, options, [engine = engine_.get(), raw, finish = channel.finisher(raw)](const auto& failure) {
      if (failure.status == TORCHCLIP_OK) raw->info = engine->info();
      finish(failure);
    });
  });
}

// The floats of a row of an output. Throws E_ARGUMENT for one that the model does not give.
std::int64_t EngineObject::row_floats(Napi::Env env, core::ImageOutput output) const {
  return now(env, [&] { return engine_->info().dim_of(output); });
}

// encodePixels(pixels: Uint8Array, rows: number, output: 0 | 1, out: Float32Array, normalize: boolean,
// cancel: Int32Array): Promise<number>
Napi::Value EngineObject::encode_pixels(const Napi::CallbackInfo& info) {
  const auto& model = engine_->info();
  const auto rows = whole(info[1], 1, 1 << 20, "rows");
  const auto output = image_output(info[2]);
  const auto* pixels =
      elements_of<std::uint8_t>(info[0], napi_uint8_array, rows * 3 * model.image_size * model.image_size, "pixels");
  auto* out = elements_of<float>(info[3], napi_float32_array, rows * row_floats(info.Env(), output), "out");
  const bool normalize = info[4].ToBoolean();
  return run(info, info[5], {info[0], info[3]},
             [=](core::Runner& r, const Rest& begun, const volatile std::int32_t* cancel) {
               return r.begin_pixels(pixels, rows, out, normalize, begun, cancel, output);
             });
}

// encodeImages(images: (RawImage | { jpeg: Uint8Array })[], output: 0 | 1, out: Float32Array, failed: Uint8Array,
// normalize: boolean, cancel: Int32Array): Promise<number>
Napi::Value EngineObject::encode_images(const Napi::CallbackInfo& info) {
  const auto given = list(info[0], "images");
  const auto output = image_output(info[1]);
  const auto rows = whole(Napi::Number::New(info.Env(), given.Length()), 1, 1 << 20, "images");
  struct Given {
    Napi::Value bytes;
    bool encoded;
    core::Image image;
  };
  // Getters of the list and its items may run JavaScript: pointers are taken when they have all been read.
  std::vector<Given> items;
  for (std::uint32_t i = 0; i < given.Length(); ++i) {
    const auto o = object(given.Get(i), "an image");
    if (const auto jpeg = o.Get("jpeg"); jpeg.IsTypedArray()) {
      items.push_back({jpeg, true, {}});
      continue;
    }
    const auto number = [&](const char* name, std::int64_t most) {
      return static_cast<std::int32_t>(whole(o.Get(name), 1, most, name));
    };
    const core::Image image{nullptr, number("width", core::kMostSide), number("height", core::kMostSide),
                            number("channels", 4)};
    items.push_back({o.Get("data"), false, image});
  }
  std::vector<core::ImageInput> images;
  std::vector<Napi::Value> keep{info[2], info[3]};
  for (auto& [bytes, encoded, image] : items) {
    keep.push_back(bytes);
    if (encoded) {
      const auto* data = elements_of<std::uint8_t>(bytes, napi_uint8_array, 1, "jpeg");
      images.push_back({{data, 0, 0, 0}, bytes.As<Napi::Uint8Array>().ByteLength()});
      continue;
    }
    const std::int64_t needed = std::int64_t{image.width} * image.height * image.channels;
    image.pixels = elements_of<std::uint8_t>(bytes, napi_uint8_array, needed, "data");
    images.push_back({image});
  }
  auto* out = elements_of<float>(info[2], napi_float32_array, rows * row_floats(info.Env(), output), "out");
  auto* failed = elements_of<std::uint8_t>(info[3], napi_uint8_array, rows, "failed");
  const bool normalize = info[4].ToBoolean();
  return run(
      info, info[5], keep,
      [=, images = std::move(images)](core::Runner& r, const Rest& begun, const volatile std::int32_t* cancel) -> Rest {
        begun();
        r.encode_images(images.data(), rows, out, failed, normalize, cancel, output);
        return {};
      });
}

// encodeTokens(ids: Int32Array, rows: number, length: number, out: Float32Array, normalize: boolean, cancel:
// Int32Array): Promise<number>
Napi::Value EngineObject::encode_tokens(const Napi::CallbackInfo& info) {
  const auto& model = engine_->info();
  const auto rows = whole(info[1], 1, 1 << 24, "rows");
  const auto length = static_cast<std::int32_t>(whole(info[2], 1, std::max(1, model.context_length), "length"));
  const auto* ids = elements_of<std::int32_t>(info[0], napi_int32_array, rows * length, "ids");
  auto* out = elements_of<float>(info[3], napi_float32_array, rows * model.embed_dim, "out");
  const bool normalize = info[4].ToBoolean();
  return run(info, info[5], {info[0], info[3]},
             [=](core::Runner& r, const Rest& begun, const volatile std::int32_t* cancel) {
               return r.begin_tokens(ids, rows, length, out, normalize, begun, cancel);
             });
}

Napi::Value EngineObject::run(const Napi::CallbackInfo& info, const Napi::Value& cancel,
                              const std::vector<Napi::Value>& keep, Work work) {
  const auto* flag = elements_of<std::int32_t>(cancel, napi_int32_array, 1, "cancel");
  auto job = std::make_unique<NumberJob>(info.Env());
  job->keep(info.This());
  job->keep(cancel);
  for (const auto& value : keep) job->keep(value);
  auto& channel = Environment::of(info.Env()).channel;
  return channel.start(info.Env(), std::move(job), [&](NumberJob* raw) {
    engine_->run_ahead(
        [raw, flag, work = std::move(work)](core::Runner& runner, const Rest& begun) -> Rest {
          const auto start = std::chrono::steady_clock::now();
          const auto stop = [raw, start] {
            raw->value = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
          };
          auto rest = work(runner, begun, flag);
          if (!rest) {
            stop();
            return {};
          }
          return [rest = std::move(rest), stop] {
            rest();
            stop();
          };
        },
        flag, channel.finisher(raw));
  });
}

// memory(): { weights: number, workspace: number, waiting: number, graphs: number, refusedGraphs: number,
// graphProblem: string }: bytes, batches that wait or run, passes captured as CUDA graphs, captures that the GPU
// refused, and why it refused the last one.
Napi::Value EngineObject::memory(const Napi::CallbackInfo& info) {
  const auto use = engine_->memory();
  auto o = Napi::Object::New(info.Env());
  o.Set("weights", static_cast<double>(use.weights));
  o.Set("workspace", static_cast<double>(use.workspace));
  o.Set("waiting", static_cast<double>(engine_->waiting()));
  o.Set("graphs", static_cast<double>(use.graphs));
  o.Set("refusedGraphs", static_cast<double>(use.refused_graphs));
  o.Set("graphProblem", use.graph_problem);
  return o;
}

// close(): Promise<void>; the running batch is waited for on the pool, never on the JavaScript thread. Rejects with
// E_TIMEOUT where the code of a third-party export does not return.
Napi::Value EngineObject::close(const Napi::CallbackInfo& info) {
  auto& environment = Environment::of(info.Env());
  auto job = std::make_unique<Job>(info.Env());
  job->keep(info.This());
  return environment.start<Job>(info.Env(), std::move(job), [engine = engine_](Job&) {
    if (engine->close()) return;
    throw core::Error(TORCHCLIP_E_TIMEOUT,
                      "the model's own code has not returned for 2 seconds; it goes on in its thread");
  });
}

}  // namespace torchclip::addon
