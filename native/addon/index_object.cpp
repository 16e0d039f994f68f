#include "index_object.h"

#include "arguments.h"

namespace torchclip::addon {
Napi::Function IndexObject::define(Napi::Env env) {
  return DefineClass(env, "Index",
                     {InstanceMethod("add", &IndexObject::add), InstanceMethod("search", &IndexObject::search),
                      InstanceMethod("read", &IndexObject::read), InstanceMethod("rows", &IndexObject::rows),
                      InstanceMethod("dim", &IndexObject::dim), InstanceMethod("bytes", &IndexObject::bytes)});
}

// new Index(type: 0 fp32 | 1 bf16 | 2 int8, dim: number), or new Index(path: string) for a mapped .npy
IndexObject::IndexObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<IndexObject>(info) {
  try {
    if (info[0].IsString()) {
      index_ = core::Index::open_npy(text(info[0], "path"));
    } else {
      index_ = std::make_shared<core::Index>(static_cast<core::Type>(whole(info[0], 0, 2, "type")),
                                             whole(info[1], 1, 65536, "dim"));
    }
  } catch (const core::Error&) {
    throw to_js(info.Env(), core::current_failure());
  }
}

// add(rows: Float32Array, count: number): Promise<void>
Napi::Value IndexObject::add(const Napi::CallbackInfo& info) {
  const auto count = whole(info[1], 0, 1LL << 31, "count");
  const auto* rows = elements_of<float>(info[0], napi_float32_array, count * index_->dim(), "rows");
  auto job = std::make_unique<Job>(info.Env());
  job->keep(info.This());
  job->keep(info[0]);
  return Environment::of(info.Env()).start<Job>(info.Env(), std::move(job), [=, index = index_](Job&) {
    index->add(rows, count);
  });
}

// search(queries: Float32Array, count: number, k: number, allowed: Uint8Array | null, indices: Int32Array,
//        scores: Float32Array): Promise<void>
Napi::Value IndexObject::search(const Napi::CallbackInfo& info) {
  const auto count = whole(info[1], 1, 1 << 30, "count");
  const auto k = static_cast<std::int32_t>(whole(info[2], 1, 1 << 30, "k"));
  const auto* queries = elements_of<float>(info[0], napi_float32_array, count * index_->dim(), "queries");
  const auto* allowed = info[3].IsNull()
                            ? nullptr
                            : elements_of<std::uint8_t>(info[3], napi_uint8_array, (index_->rows() + 7) / 8, "allowed");
  auto* indices = elements_of<std::int32_t>(info[4], napi_int32_array, count * k, "indices");
  auto* scores = elements_of<float>(info[5], napi_float32_array, count * k, "scores");
  auto job = std::make_unique<Job>(info.Env());
  job->keep(info.This());
  for (const int i : {0, 4, 5}) job->keep(info[i]);
  if (allowed) job->keep(info[3]);
  return Environment::of(info.Env()).start<Job>(info.Env(), std::move(job), [=, index = index_](Job&) {
    index->search(queries, count, k, allowed, {indices, scores});
  });
}

// read(start: number, count: number, out: Float32Array): void
Napi::Value IndexObject::read(const Napi::CallbackInfo& info) {
  const auto start = whole(info[0], 0, index_->rows(), "start");
  const auto count = whole(info[1], 0, index_->rows() - start, "count");
  auto* out = elements_of<float>(info[2], napi_float32_array, count * index_->dim(), "out");
  for (std::int64_t i = 0; i < count; ++i) index_->row(start + i, out + i * index_->dim());
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

}  // namespace torchclip::addon
