#include "kernels/attention.h"
#include "kernels/tables.h"

namespace torchclip::core {

const FastProduct avx512_bf16 = {product_of<BrainStep>(Precision::bf16, Type::bf16), attention<BrainAttention>, nullptr,
                                 nullptr};

}  // namespace torchclip::core
