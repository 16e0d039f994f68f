// Work that stops where its caller asks: a flag that another thread sets.
#pragma once

#include <cstdint>

#include "base/error.h"

namespace torchclip::core {

// Checked between layers; not zero: the pass ends with Error(E_ABORTED). May be null.
using Cancel = const volatile std::int32_t*;

inline void check_cancel(Cancel cancel) {
  if (cancel && *cancel) throw Error(TORCHCLIP_E_ABORTED, "aborted");
}

}  // namespace torchclip::core
