// Memory checks at the boundary: type tag, byte length, who may change the memory. Meaning is checked in TypeScript.
//
// Work that leaves the JavaScript thread reads and writes typed arrays while JavaScript goes on. Node-API can keep an
// array alive, but not its memory: JavaScript can transfer a buffer away (structuredClone, postMessage, transfer(),
// WebAssembly's grow), after which the memory belongs to whoever received it and is freed there, or shrink a resizable
// one. No reference held here prevents that, and marking a buffer as untransferable cannot be undone. So memory is
// never shared with the caller:
//
//   what                                     who makes it                         while the work runs
//   results (`out`, `indices`, `scores`)     lib/, handed out when it has settled  kept here
//   `cancel`, `failed`                       lib/, never handed out               kept here
//   decoded pixels, token ids, JPEG files    lib/, or a copy by lib/util/own.ts   kept here
//   rows that are added, queries, filters,   a copy by lib/util/own.ts, of large  kept here
//   the base of topK, pixels of the caller    ones block by block
//   similarity's arguments                   the caller                           the call ends before JavaScript goes
//   on memory of a SharedArrayBuffer            the caller: it can neither shrink nor be taken away; who writes to it
//                                            meanwhile changes the result          kept here
//
// What is kept: the array and its buffer, by `Job::keep`. A view of a resizable ArrayBuffer is refused everywhere. All
// arguments are converted before the first pointer is taken, because a getter may run JavaScript.
#pragma once

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <string>

#include "environment.h"

namespace torchclip::addon {

inline Napi::Error argument_error(Napi::Env env, const std::string& message) {
  auto error = Napi::TypeError::New(env, message);
  error.Set("code", "E_ARGUMENT");
  return error;
}

// The memory of a typed array of `type`; throws E_ARGUMENT naming `what` otherwise, where it holds fewer than
// `elements` elements (none, when its buffer was transferred), and where its buffer can shrink.
template <typename T>
T* elements_of(const Napi::Value& value, napi_typedarray_type type, std::int64_t elements, const char* what) {
  const Napi::Env env = value.Env();
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) {
    throw argument_error(env, std::string(what) + " is not a typed array of the expected type");
  }
  auto array = value.As<Napi::TypedArrayOf<T>>();
  if (Environment::of(env).is_resizable(array)) {
    throw argument_error(env, std::string(what) + " is a view of a resizable ArrayBuffer: give a copy of it");
  }
  if (static_cast<std::int64_t>(array.ElementLength()) < elements) {
    throw argument_error(env, std::string(what) + " holds " + std::to_string(array.ElementLength()) +
                                  " elements where " + std::to_string(elements) + " are needed");
  }
  return array.Data();
}

inline std::int64_t whole(const Napi::Value& value, std::int64_t least, std::int64_t most, const char* what) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  // NaN fails the first comparison; what passes both fits in an int64.
  if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most)) || number != std::trunc(number)) {
    throw argument_error(value.Env(), std::string(what) + " is not a whole number in " + std::to_string(least) +
                                          " to " + std::to_string(most));
  }
  return static_cast<std::int64_t>(number);
}

// Labels become indices. Throws E_ARGUMENT for one that is not in 0 to classes - 1.
inline void check_labels(Napi::Env env, const std::int32_t* labels, std::int64_t rows, std::int64_t classes) {
  for (std::int64_t i = 0; i < rows; ++i) {
    if (labels[i] >= 0 && labels[i] < classes) continue;
    throw argument_error(env, "label " + std::to_string(i) + " is not a class");
  }
}

inline std::string text(const Napi::Value& value, const char* what) {
  if (!value.IsString()) throw argument_error(value.Env(), std::string(what) + " is not a string");
  return value.As<Napi::String>();
}

// A path: the C library would take what comes before a NUL for the whole of it.
inline std::string path(const Napi::Value& value, const char* what) {
  auto found = text(value, what);
  if (found.find('\0') != std::string::npos) throw argument_error(value.Env(), std::string(what) + " holds a NUL");
  return found;
}

inline Napi::Object object(const Napi::Value& value, const char* what) {
  if (!value.IsObject()) throw argument_error(value.Env(), std::string(what) + " is not an object");
  return value.As<Napi::Object>();
}

inline Napi::Array list(const Napi::Value& value, const char* what) {
  if (!value.IsArray()) throw argument_error(value.Env(), std::string(what) + " is not an array");
  return value.As<Napi::Array>();
}

}  // namespace torchclip::addon
