#include "index_object.h"

#include "arguments.h"

namespace torchclip::addon {
Napi::Function IndexObject::define(Napi::Env env) {
  return DefineClass(
      env, "Index",
      {InstanceMethod("stage", &IndexObject::stage), InstanceMethod("commit", &IndexObject::commit),
       InstanceMethod("discard", &IndexObject::discard), InstanceMethod("place", &IndexObject::place),
       InstanceMethod("upload", &IndexObject::upload), InstanceMethod("search", &IndexObject::search),
       InstanceMethod("read", &IndexObject::read), InstanceMethod("close", &IndexObject::close),
       InstanceMethod("rows", &IndexObject::rows), InstanceMethod("dim", &IndexObject::dim),
       InstanceMethod("bytes", &IndexObject::bytes), InstanceMethod("gpuBytes", &IndexObject::gpu_bytes)});
}

// new Index(type: 0 fp32 | 1 bf16 | 2 int8, dim: number), or new Index(path: string) for a mapped .npy
IndexObject::IndexObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<IndexObject>(info) {
  index_ = now(info.Env(), [&]() -> std::shared_ptr<core::Index> {
    if (info[0].IsString()) return core::Index::open_npy(path(info[0], "path"));
    const auto type = static_cast<core::DType>(whole(info[0], 0, 2, "type"));
    return std::make_shared<core::Index>(type, whole(info[1], 1, core::kMostDim, "dim"));
  });
}

// stage(rows: Float32Array, count: number, more: number): Promise<void>
Napi::Value IndexObject::stage(const Napi::CallbackInfo& info) {
  const auto count = whole(info[1], 0, core::kMostRows, "count"), more = whole(info[2], 0, core::kMostRows, "more");
  const auto* rows = elements_of<float>(info[0], napi_float32_array, count * index_->dim(), "rows");
  auto job = std::make_unique<Job>(info.Env());
  job->keep(info[0]);
  return Environment::of(info.Env()).start<Job>(info.Env(), std::move(job), [=, index = index_](Job&) {
    index->stage(rows, count, more);
  });
}

// commit(): void
Napi::Value IndexObject::commit(const Napi::CallbackInfo& info) {
  now(info.Env(), [&] { index_->commit(); });
  return info.Env().Undefined();
}

// discard(): void
Napi::Value IndexObject::discard(const Napi::CallbackInfo& info) {
  index_->discard();
  return info.Env().Undefined();
}

// place(device: string): Promise<void>
Napi::Value IndexObject::place(const Napi::CallbackInfo& info) {
  const std::string device = text(info[0], "device");
  auto job = std::make_unique<Job>(info.Env());
  return Environment::of(info.Env()).start<Job>(info.Env(), std::move(job), [device, index = index_](Job&) {
    index->place_on(core::GpuRows::on(device, index->dim()));
  });
}

// upload(): Promise<void>
Napi::Value IndexObject::upload(const Napi::CallbackInfo& info) {
  auto job = std::make_unique<Job>(info.Env());
  return Environment::of(info.Env()).start<Job>(info.Env(), std::move(job), [index = index_](Job&) {
    index->upload();
  });
}

// search(queries: Float32Array, count: number, k: number, allowed: Uint8Array | null, indices: Int32Array,
//        scores: Float32Array): Promise<void>
Napi::Value IndexObject::search(const Napi::CallbackInfo& info) {
  const auto count = whole(info[1], 1, 1 << 30, "count");
  const auto k = static_cast<std::int32_t>(whole(info[2], 1, core::kMostRows, "k"));
  core::Query query{elements_of<float>(info[0], napi_float32_array, count * index_->dim(), "queries"), count, k, {}};
  auto job = std::make_unique<Job>(info.Env());
  if (!info[3].IsNull()) {
    query.filter = {elements_of<std::uint8_t>(info[3], napi_uint8_array, 0, "allowed"), 0};
    query.filter.rows = static_cast<std::int64_t>(info[3].As<Napi::Uint8Array>().ElementLength()) * 8;
    job->keep(info[3]);
  }
  const core::Hits hits{elements_of<std::int32_t>(info[4], napi_int32_array, count * k, "indices"),
                        elements_of<float>(info[5], napi_float32_array, count * k, "scores")};
  for (const std::size_t i : {0u, 4u, 5u}) job->keep(info[i]);
  return Environment::of(info.Env()).start<Job>(info.Env(), std::move(job), [=, index = index_](Job&) {
    index->search(query, hits);
  });
}

// read(start: number, count: number, out: Float32Array): void
Napi::Value IndexObject::read(const Napi::CallbackInfo& info) {
  const auto start = whole(info[0], 0, core::kMostRows, "start"), count = whole(info[1], 0, core::kMostRows, "count");
  auto* out = elements_of<float>(info[2], napi_float32_array, count * index_->dim(), "out");
  now(info.Env(), [&] { index_->read(start, count, out); });
  return info.Env().Undefined();
}

// close(): void
Napi::Value IndexObject::close(const Napi::CallbackInfo& info) {
  index_->close();
  return info.Env().Undefined();
}

Napi::Value IndexObject::rows(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(index_->rows()));
}
Napi::Value IndexObject::dim(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(index_->dim()));
}
Napi::Value IndexObject::bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(index_->bytes()));
}

Napi::Value IndexObject::gpu_bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(index_->gpu_bytes()));
}

}  // namespace torchclip::addon
