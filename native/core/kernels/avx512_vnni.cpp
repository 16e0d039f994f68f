#include "kernels/byte_dots.h"
#include "kernels/tables.h"

namespace torchclip::core {

const FastProduct avx512_vnni_int8 = {multiply<DotStep>, DotStep::kRows, nullptr, byte_dots<DotStep>};

}  // namespace torchclip::core
