#include "kernels/elementwise.h"
#include "kernels/tables.h"

namespace torchclip::core {

const Part avx2_part = {
    multiply<FloatStep>, multiply<PairStep>, FloatStep::kRows, PairStep::kRows, layer_norm, attention, scan, dots};

}  // namespace torchclip::core
