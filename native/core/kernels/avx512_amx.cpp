#include <immintrin.h>

#include "kernels/amx.h"
#include "kernels/tables.h"

namespace torchclip::core {

const FastProduct amx_bf16 = {product_of<Bf16Tiles>(Precision::bf16, DType::bf16, multiply_by_tiles<Bf16Tiles>),
                              nullptr, nullptr, nullptr};
const FastProduct amx_int8 = {product_of<Int8Tiles>(Precision::int8, DType::s8, multiply_by_tiles<Int8Tiles>), nullptr,
                              nullptr, nullptr};

}  // namespace torchclip::core
