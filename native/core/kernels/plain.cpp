// The floor on every CPU: nothing but what the compiler takes for granted.
#include "kernels/attention.h"
#include "kernels/depthwise.h"
#include "kernels/elementwise.h"
#include "kernels/int8_dots.h"
#include "kernels/products.h"
#include "kernels/tables.h"
#include "kernels/winograd.h"

namespace torchclip::core {

const IsaKernels plain_kernels = {
    {gemm_kernel<F32FmaStep>(Precision::fp32, DType::f32), gemm_kernel<WidenedBf16Step>(Precision::bf16, DType::f32),
     gemm_kernel<WidenedFp16Step>(Precision::fp16, DType::f32), gemm_kernel<Int8PlainStep>(Precision::int8, DType::s8)},
    attention<F32Attention>,
    {layer_norm, winograd_input, winograd_output, depthwise, gated_gelu, scan, dots, int8_dots<Int8PlainStep>,
     widen_all_bf16, widen_all_fp16, product<float>, product<double>}};

}  // namespace torchclip::core
