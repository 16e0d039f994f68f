// The text cleaning of openai/CLIP and open_clip before tokenization; lib/text/clean.ts is the TypeScript version.
#pragma once

#include <string>
#include <string_view>

namespace torchclip::core {

// Applies ftfy's repairs, unescapes HTML twice and reduces white space to single spaces. The tokenizer lowers the case,
// but final sigmas are decided here, because the reference lowers the text as a whole.
std::u32string clean_as_openai(std::u32string_view text);

// Python's html.unescape.
std::u32string unescape_html(std::u32string_view text);

}  // namespace torchclip::core
