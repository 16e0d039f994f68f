#include "kernels/gemm.h"
#include "kernels/steps.h"
#include "kernels/tables.h"

namespace torchclip::core {

const FastProduct avx512_bf16 = {multiply<BrainStep>, BrainStep::kRows};

}  // namespace torchclip::core
