// The element types of the tensors of an artifact.
#pragma once

#include <cstdint>

namespace torchclip::core {

enum class StoredType { f32, f16, bf16 };

constexpr std::uint64_t element_bytes(StoredType type) { return type == StoredType::f32 ? 4 : 2; }

}  // namespace torchclip::core
