// Numbers as text. A standard library may lack std::from_chars for double: libc++ has it since LLVM 20.
#pragma once

#include <cstddef>
#include <string_view>

namespace torchclip::core {

// Reads the longest number that `text` begins with, as std::from_chars(…, std::chars_format::general) does: a minus
// sign may stand before it, a plus sign or a blank may not; the result is correctly rounded and depends on no locale.
// Returns how many characters were read; 0 if there is no number, or if it is too large or too small for a double.
std::size_t read_double(std::string_view text, double& number);

// The same by strtod of the C library, in its locale "C"; used where std::from_chars is missing.
std::size_t read_double_by_strtod(std::string_view text, double& number);

}  // namespace torchclip::core
