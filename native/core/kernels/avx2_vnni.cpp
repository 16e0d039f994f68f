#include "kernels/gemm.h"
#include "kernels/steps.h"
#include "kernels/tables.h"

namespace torchclip::core {

const FastProduct avx2_vnni_int8 = {multiply<DotStep>, DotStep::kRows};

}  // namespace torchclip::core
