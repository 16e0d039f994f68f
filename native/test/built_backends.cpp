// The programs of tests lie in another folder than the backends that the same build made.
#include "model/backend_library.h"

namespace {

const bool is_known = [] {
  torchclip::core::set_backend_places({{TORCHCLIP_BUILT_BACKENDS}, ""});
  return true;
}();

}  // namespace
