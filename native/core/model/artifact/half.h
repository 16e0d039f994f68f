// 16-bit floating-point numbers as float32.
#pragma once

#include <cstddef>
#include <cstdint>

namespace torchclip::core {

// `to` holds `count` values. It may overlap `from` where no value is written before it is read (see read_floats()).
void widen_fp16(const std::uint16_t* from, float* to, std::size_t count);
void widen_bf16(const std::uint16_t* from, float* to, std::size_t count);

}  // namespace torchclip::core
