// What the tokenizer needs of Unicode, by the tables of tables.h.
#pragma once

#include <string>
#include <string_view>

namespace torchclip::core {

// The character at text[at] and its length in bytes; 0: there stands no UTF-8.
std::size_t next_utf8(std::string_view text, std::size_t at, char32_t& c);
// Throws Error(E_ARGUMENT) with the offset of what is no UTF-8.
std::u32string from_utf8(std::string_view text);
std::string to_utf8(std::u32string_view text);
// As JavaScript holds text: a lone surrogate stays one.
std::u32string from_utf16(std::u16string_view text);
std::u16string to_utf16(std::u32string_view text);

bool is_letter(char32_t c);        // \p{L}
bool is_number(char32_t c);        // \p{N}
bool is_space(char32_t c);         // Unicode's White_Space, which \s means to the references
bool is_python_space(char32_t c);  // where Python's str.split() cuts

std::u32string normalize_nfc(std::u32string_view text);
std::u32string final_sigmas(std::u32string_view text);  // Greek capital sigmas at a word's end as final small ones
std::u32string lower(std::u32string_view text);         // one character at a time, as CLIP's tokenizer does
std::u32string widths(std::u32string_view text);        // full- and half-width forms as ordinary ones

}  // namespace torchclip::core
