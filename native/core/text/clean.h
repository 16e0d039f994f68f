// What openai/CLIP and open_clip do to a text before they cut it into tokens; lib/text/clean.ts says the same.
#pragma once

#include <string>
#include <string_view>

namespace torchclip::core {

// ftfy's repairs, HTML's characters twice, single spaces. The tokenizer lowers the case;
// that a sigma is a word's last letter is settled here, as the reference lowers the text as a whole.
std::u32string clean_as_openai(std::u32string_view text);

// Python's html.unescape.
std::u32string unescape_html(std::u32string_view text);

}  // namespace torchclip::core
