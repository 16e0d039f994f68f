// The Unicode functions that the tokenizer needs, based on tables.h.
#pragma once

#include <string>
#include <string_view>

namespace torchclip::core {

// Returns the length in bytes of the character at text[at], which is stored in `c`, or 0 if it is not valid UTF-8.
std::size_t next_utf8(std::string_view text, std::size_t at, char32_t& c);
// Throws Error(E_ARGUMENT) with the offset of the first byte that is not valid UTF-8.
std::u32string from_utf8(std::string_view text);
std::string to_utf8(std::u32string_view text);
// Converts from JavaScript's representation of text; a lone surrogate is kept.
std::u32string from_utf16(std::u16string_view text);
std::u16string to_utf16(std::u32string_view text);

bool is_letter(char32_t c);        // \p{L}
bool is_number(char32_t c);        // \p{N}
bool is_space(char32_t c);         // Unicode's White_Space, which is what \s means in the references.
bool is_python_space(char32_t c);  // The characters at which Python's str.split() splits.

std::u32string normalize_nfc(std::u32string_view text);
std::u32string final_sigmas(std::u32string_view text);  // Capital sigmas at a word's end become final small ones.
std::u32string lower(std::u32string_view text);         // One character at a time, as CLIP's tokenizer does.
std::u32string widths(std::u32string_view text);        // Full-width and half-width forms become ordinary ones.

}  // namespace torchclip::core
