// The floor on every CPU: nothing but what the compiler takes for granted.
#include "kernels/attention.h"
#include "kernels/elementwise.h"
#include "kernels/int8_dots.h"
#include "kernels/tables.h"
#include "kernels/winograd.h"

namespace torchclip::core {

const Part plain_part = {
    {product_of<FloatStep>(Precision::fp32, DType::f32), product_of<WidenedBf16Step>(Precision::bf16, DType::f32),
     product_of<WidenedFp16Step>(Precision::fp16, DType::f32), product_of<DotStep>(Precision::int8, DType::s8)},
    attention<FloatAttention>,
    {layer_norm, winograd_input, winograd_output, scan, dots, int8_dots<DotStep>, widen_all_bf16, widen_all_fp16}};

}  // namespace torchclip::core
