#include "kernels/int8_dots.h"
#include "kernels/tables.h"

namespace torchclip::core {

const FastProduct avx512_vnni_int8 = {product_of<DotStep>(Precision::int8, DType::s8), nullptr, int8_dots<DotStep>,
                                      nullptr};

}  // namespace torchclip::core
