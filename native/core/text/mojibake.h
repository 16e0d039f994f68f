// Repairs text that was decoded with a wrong encoding ("Ã©" instead of "é"), as ftfy does.
#pragma once

#include <string>

namespace torchclip::core {

// Implements ftfy.fix_encoding with its defaults. Text without signs of a wrong encoding is returned unchanged.
std::u32string fix_encoding(std::u32string text);

}  // namespace torchclip::core
