#include "kernels/byte_dots.h"
#include "kernels/tables.h"

namespace torchclip::core {

const FastProduct avx2_vnni_int8 = {product_of<DotStep>(Precision::int8, Type::s8), nullptr, byte_dots<DotStep>,
                                    nullptr};

}  // namespace torchclip::core
