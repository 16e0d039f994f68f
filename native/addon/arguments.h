// Memory checks at the boundary: type tag and byte length. Meaning is checked in TypeScript.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>

namespace torchclip::addon {

// The memory of a typed array of `type`; throws a TypeError naming `what` otherwise, or where it holds fewer than
// `elements` elements.
template <typename T>
T* elements_of(const Napi::Value& value, napi_typedarray_type type, std::size_t elements, const char* what) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) {
    throw Napi::TypeError::New(value.Env(), std::string(what) + " is not a typed array of the expected type");
  }
  auto array = value.As<Napi::TypedArrayOf<T>>();
  if (array.ElementLength() < elements) {
    throw Napi::RangeError::New(value.Env(), std::string(what) + " holds " + std::to_string(array.ElementLength()) +
                                                 " elements where " + std::to_string(elements) + " are needed");
  }
  return array.Data();
}

inline std::int64_t whole(const Napi::Value& value, std::int64_t least, std::int64_t most, const char* what) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1e300;
  if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most)) ||
      number != static_cast<double>(static_cast<std::int64_t>(number))) {
    throw Napi::RangeError::New(value.Env(), std::string(what) + " is not a whole number in " + std::to_string(least) +
                                                 " to " + std::to_string(most));
  }
  return static_cast<std::int64_t>(number);
}

inline std::string text(const Napi::Value& value, const char* what) {
  if (!value.IsString()) throw Napi::TypeError::New(value.Env(), std::string(what) + " is not a string");
  return value.As<Napi::String>();
}

}  // namespace torchclip::addon
