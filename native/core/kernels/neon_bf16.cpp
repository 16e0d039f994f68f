#include "kernels/attention_neon.h"
#include "kernels/matrix_neon.h"
#include "kernels/tables.h"

namespace torchclip::core {

const DTypeKernels neon_bf16 = {gemm_kernel<Bf16MatrixStep>(Precision::bf16, DType::bf16),
                                attention<Bf16BfdotAttention>, nullptr, nullptr};

}  // namespace torchclip::core
