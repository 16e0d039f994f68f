#include "kernels/attention.h"
#include "kernels/byte_dots.h"
#include "kernels/elementwise.h"
#include "kernels/tables.h"
#include "kernels/winograd.h"

namespace torchclip::core {

const Part avx2_part = {multiply<FloatStep>,
                        multiply<PairStep>,
                        FloatStep::kRows,
                        PairStep::kRows,
                        layer_norm,
                        attention<FloatAttention>,
                        winograd_input,
                        winograd_output,
                        scan,
                        dots,
                        byte_dots<PairStep>};

}  // namespace torchclip::core
