#include "kernels/int8_dots.h"
#include "kernels/tables.h"

namespace torchclip::core {

const DTypeKernels avx2_vnni_int8 = {gemm_kernel<Int8VnniStep>(Precision::int8, DType::s8), nullptr,
                                     int8_dots<Int8VnniStep>, nullptr};

}  // namespace torchclip::core
