#include "kernels/elementwise.h"
#include "kernels/tables.h"

namespace torchclip::core {

const FastProduct avx2_f16c = {product_of<WidenedFp16Step>(Precision::fp16, DType::f32), nullptr, nullptr,
                               widen_all_fp16};

}  // namespace torchclip::core
