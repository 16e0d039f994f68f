#include <immintrin.h>

#include "kernels/amx.h"
#include "kernels/tables.h"

namespace torchclip::core {

const FastProduct amx_bf16 = {multiply_by_tiles<BrainTiles>, BrainTiles::kRows, nullptr, nullptr};
const FastProduct amx_int8 = {multiply_by_tiles<ByteTiles>, ByteTiles::kRows, nullptr, nullptr};

}  // namespace torchclip::core
