#include "kernels/int8_dots.h"
#include "kernels/steps_neon.h"
#include "kernels/tables.h"

namespace torchclip::core {

const DTypeKernels neon_dot_int8 = {gemm_kernel<Int8SdotStep>(Precision::int8, DType::s8), nullptr,
                                    int8_dots<Int8SdotStep>, nullptr};

}  // namespace torchclip::core
