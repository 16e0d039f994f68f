#include "kernels/elementwise.h"
#include "kernels/tables.h"

namespace torchclip::core {

const DTypeKernels avx2_f16c = {gemm_kernel<WidenedFp16Step>(Precision::fp16, DType::f32), nullptr, nullptr,
                                widen_all_fp16};

}  // namespace torchclip::core
