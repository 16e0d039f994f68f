// The types of the numbers in weight files, and their conversion to the types of an artifact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model/artifact/stored_type.h"

namespace torchclip::core {

enum class NumberType { f32, f16, bf16, f64, i64 };

// The types by safetensors' names: "F32", "F16", "BF16", "F64", "I64". Throws Error(E_MODEL_CORRUPT) for other names,
// and stored_type() for those of 64 bits.
NumberType number_type(const std::string& name);
StoredType stored_type(const std::string& name);

std::uint64_t element_bytes(NumberType type);
bool is_same(NumberType from, StoredType to);

// Widens `count` numbers of 16 bits, f16 or bf16, to float32. `values` needs no alignment, and may lie in the memory of
// `out` where no number is written before it is read.
void widen(StoredType type, const char* values, std::size_t count, float* out);

// `count` numbers of `values` in the type `to`. They are rounded to the nearest, ties to even; numbers of 64 bits are
// rounded to float32 first, as libtorch's Tensor::to does.
std::vector<char> converted(NumberType from, const char* values, std::size_t count, StoredType to);

}  // namespace torchclip::core
