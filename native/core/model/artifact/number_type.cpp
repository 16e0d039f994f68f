#include "model/artifact/number_type.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/kernels.h"

namespace torchclip::core {
namespace {

constexpr std::size_t kAtOnce = 2048;  // Numbers that are float32 on the way.

[[noreturn]] void unknown_type(const std::string& name) {
  throw Error(TORCHCLIP_E_MODEL_CORRUPT, "unknown element type " + name);
}

template <typename Number>
void narrow(const char* values, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) {
    Number number;
    std::memcpy(&number, values + i * sizeof number, sizeof number);
    out[i] = static_cast<float>(number);
  }
}

void to_floats(NumberType from, const char* values, std::size_t count, float* out) {
  switch (from) {
    case NumberType::f32:
      std::memcpy(out, values, count * sizeof(float));
      return;
    case NumberType::f16:
      return widen(StoredType::f16, values, count, out);
    case NumberType::bf16:
      return widen(StoredType::bf16, values, count, out);
    case NumberType::f64:
      return narrow<double>(values, count, out);
    case NumberType::i64:
      return narrow<std::int64_t>(values, count, out);
  }
}

void store(const float* numbers, std::size_t count, StoredType to, char* out) {
  if (to == StoredType::f32) {
    std::memcpy(out, numbers, count * sizeof(float));
    return;
  }
  std::uint16_t (*const rounded)(float) = to == StoredType::f16 ? to_fp16 : to_bf16;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint16_t bits = rounded(numbers[i]);
    std::memcpy(out + i * sizeof bits, &bits, sizeof bits);
  }
}

}  // namespace

NumberType number_type(const std::string& name) {
  if (name == "F32") return NumberType::f32;
  if (name == "F16") return NumberType::f16;
  if (name == "BF16") return NumberType::bf16;
  if (name == "F64") return NumberType::f64;
  if (name == "I64") return NumberType::i64;
  unknown_type(name);
}

StoredType stored_type(const std::string& name) {
  if (name == "F32") return StoredType::f32;
  if (name == "F16") return StoredType::f16;
  if (name == "BF16") return StoredType::bf16;
  unknown_type(name);
}

std::uint64_t element_bytes(NumberType type) {
  if (type == NumberType::f64 || type == NumberType::i64) return 8;
  return type == NumberType::f32 ? 4 : 2;
}

bool is_same(NumberType from, StoredType to) {
  switch (from) {
    case NumberType::f32:
      return to == StoredType::f32;
    case NumberType::f16:
      return to == StoredType::f16;
    case NumberType::bf16:
      return to == StoredType::bf16;
    default:
      return false;
  }
}

void widen(StoredType type, const char* values, std::size_t count, float* out) {
  const auto kernel = type == StoredType::f16 ? kernels()->widen_fp16 : kernels()->widen_bf16;
  std::uint16_t numbers[kAtOnce];
  for (std::size_t first = 0; first < count; first += kAtOnce) {
    const std::size_t now = std::min(kAtOnce, count - first);
    std::memcpy(numbers, values + first * sizeof numbers[0], now * sizeof numbers[0]);
    kernel(numbers, static_cast<std::int64_t>(now), out + first);
  }
}

std::vector<char> converted(NumberType from, const char* values, std::size_t count, StoredType to) {
  const auto from_bytes = static_cast<std::size_t>(element_bytes(from));
  const auto to_bytes = static_cast<std::size_t>(element_bytes(to));
  std::vector<char> out(count * to_bytes);
  float numbers[kAtOnce];
  for (std::size_t first = 0; first < count; first += kAtOnce) {
    const std::size_t now = std::min(kAtOnce, count - first);
    to_floats(from, values + first * from_bytes, now, numbers);
    store(numbers, now, to, out.data() + first * to_bytes);
  }
  return out;
}

}  // namespace torchclip::core
