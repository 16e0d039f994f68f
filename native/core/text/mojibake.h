// Text that was decoded by a wrong encoding ("Ã©" where "é" was meant), as ftfy repairs it.
#pragma once

#include <string>

namespace torchclip::core {

// ftfy.fix_encoding with its defaults; text that shows no sign of it comes back as it is.
std::u32string fix_encoding(std::u32string text);

}  // namespace torchclip::core
