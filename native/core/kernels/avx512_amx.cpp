#include <immintrin.h>

#include "kernels/amx.h"
#include "kernels/tables.h"

namespace torchclip::core {

const DTypeKernels amx_bf16 = {gemm_kernel<Bf16Tiles>(Precision::bf16, DType::bf16, gemm_by_tiles<Bf16Tiles>), nullptr,
                               nullptr, nullptr};
const DTypeKernels amx_int8 = {gemm_kernel<Int8Tiles>(Precision::int8, DType::s8, gemm_by_tiles<Int8Tiles>), nullptr,
                               nullptr, nullptr};

}  // namespace torchclip::core
