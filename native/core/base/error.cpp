#include "base/error.h"

#include <new>

namespace torchclip::core {

Failure current_failure() noexcept {
  try {
    throw;
  } catch (const Error& e) {
    return {e.status(), e.what()};
  } catch (const std::bad_alloc&) {
    return {TORCHCLIP_E_OUT_OF_MEMORY, "not enough memory"};
  } catch (const std::exception& e) {
    const std::string text = e.what();
    const bool memory =
        text.find("out of memory") != std::string::npos || text.find("can't allocate memory") != std::string::npos;
    // libtorch appends its C++ stack after the first lines; the first line says what happened.
    return {memory ? TORCHCLIP_E_OUT_OF_MEMORY : TORCHCLIP_E_INTERNAL,
            text.substr(0, text.find("\nException raised from"))};
  } catch (...) {
    return {TORCHCLIP_E_INTERNAL, "unknown failure"};
  }
}

}  // namespace torchclip::core
