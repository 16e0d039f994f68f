#include "kernels/int8_dots.h"
#include "kernels/matrix_neon.h"
#include "kernels/tables.h"

namespace torchclip::core {

const DTypeKernels neon_i8mm_int8 = {gemm_kernel<Int8MatrixStep>(Precision::int8, DType::s8), nullptr,
                                     int8_dots<Int8UsdotStep>, nullptr};

}  // namespace torchclip::core
