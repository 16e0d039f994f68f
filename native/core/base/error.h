// Every failure of the core is an Error with one of the codes of the C ABI.
#pragma once

#include <stdexcept>
#include <string>

#include "torchclip/torchclip.h"

namespace torchclip::core {

class Error : public std::runtime_error {
 public:
  Error(torchclip_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  torchclip_status status() const noexcept { return status_; }

 private:
  torchclip_status status_;
};

struct Failure {
  torchclip_status status = TORCHCLIP_OK;
  std::string message;
};

// Translates the current exception; call it inside a catch block. An Error keeps its code, std::bad_alloc and
// libtorch's out-of-memory messages become E_OUT_OF_MEMORY, and everything else becomes E_INTERNAL.
Failure current_failure() noexcept;

}  // namespace torchclip::core
