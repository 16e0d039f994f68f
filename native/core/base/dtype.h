// Element types, shared by the CPU and the GPU.
#pragma once

#include <cstdint>

namespace torchclip::core {

// The first three values equal the values of an index file's precision in the addon. e4m3: FP8 with 4 bits of exponent
// and 3 of mantissa, on GPUs alone.
enum class DType : std::uint8_t { f32, bf16, s8, f16, e4m3 };

// Returns the size of an element in bytes.
constexpr std::int64_t size_of(DType type) {
  switch (type) {
    case DType::f32:
      return 4;
    case DType::s8:
    case DType::e4m3:
      return 1;
    default:
      return 2;
  }
}

}  // namespace torchclip::core
