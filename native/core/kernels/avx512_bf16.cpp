#include "kernels/attention.h"
#include "kernels/tables.h"

namespace torchclip::core {

const FastProduct avx512_bf16 = {multiply<BrainStep>, BrainStep::kRows, attention<BrainAttention>, nullptr};

}  // namespace torchclip::core
