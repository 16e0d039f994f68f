#include "kernels/attention.h"
#include "kernels/tables.h"

namespace torchclip::core {

const DTypeKernels avx512_bf16 = {gemm_kernel<Bf16Step>(Precision::bf16, DType::bf16), attention<Bf16Attention>,
                                  nullptr, nullptr};

}  // namespace torchclip::core
