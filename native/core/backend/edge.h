// Errors at the boundary (backend.h), for the C++ on both of its sides: an exception becomes a status with a message
// where a function of the table ends, and an exception again where the function was called.
#pragma once

#include <string>
#include <utility>

#include "backend/backend.h"
#include "base/cancel.h"
#include "base/copied_text.h"
#include "base/error.h"

namespace torchclip::core {

// Runs the work of a function of the table, or of a callback. Nothing is thrown: what the work throws is described in
// `error`, and its status is returned.
template <typename Work>
std::int32_t guarded(torchclip_backend_error* error, Work&& work) noexcept {
  try {
    std::forward<Work>(work)();
    return TORCHCLIP_OK;
  } catch (...) {
    const auto failure = current_failure();
    error->status = failure.status;
    copy_text(error->message, sizeof error->message, failure.message);
    return failure.status;
  }
}

// Refuses a struct of the core that ends before a member that this backend knows: throws Error(E_INTERNAL).
template <typename Struct>
void require_whole(const Struct& given) {
  if (given.size >= sizeof(Struct)) return;
  throw Error(TORCHCLIP_E_INTERNAL, "torchclip passes a struct of " + std::to_string(given.size) +
                                        " bytes to a backend that needs " + std::to_string(sizeof(Struct)));
}

// The options that the core passes to an encode function, and how the backend's function takes the flag that cancels
// it.
inline torchclip_encode_options encode_options(Cancel cancel, std::int32_t output = TORCHCLIP_OUTPUT_EMBEDDING,
                                               bool normalize = false) {
  return {sizeof(torchclip_encode_options), output, cancel, normalize, nullptr, nullptr, nullptr};
}

template <typename Work>
std::int32_t guarded_encode(torchclip_backend_error* error, const torchclip_encode_options* options,
                            Work&& work) noexcept {
  return guarded(error, [&] {
    require_whole(*options);
    std::forward<Work>(work)(options->cancel);
  });
}

// Calls a function of the table, or a callback, whose last parameter is the error. Throws its failure as an Error with
// the same status and message.
template <typename... Parameters, typename... Arguments>
void call(std::int32_t (*function)(Parameters...), Arguments&&... arguments) {
  torchclip_backend_error error;
  error.status = TORCHCLIP_OK;
  error.message[0] = '\0';
  const std::int32_t status = function(std::forward<Arguments>(arguments)..., &error);
  if (status == TORCHCLIP_OK) return;
  error.message[sizeof error.message - 1] = '\0';  // the other side may have written no NUL
  const bool known = status > TORCHCLIP_OK && status <= TORCHCLIP_E_PRECISION;
  const std::string message = error.message[0] ? error.message : "a failure without a message";
  throw Error(known ? static_cast<torchclip_status>(status) : TORCHCLIP_E_INTERNAL, message);
}

}  // namespace torchclip::core
