// Cancellation: work stops when another thread sets a flag.
#pragma once

#include <cstdint>

#include "base/error.h"

namespace torchclip::core {

// The flag is checked between layers. If it is not zero, the pass ends with Error(E_ABORTED). It may be null.
using Cancel = const volatile std::int32_t*;

inline void check_cancel(Cancel cancel) {
  if (cancel && *cancel) throw Error(TORCHCLIP_E_ABORTED, "aborted");
}

}  // namespace torchclip::core
