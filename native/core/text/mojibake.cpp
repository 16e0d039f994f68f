#include "text/mojibake.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string_view>

#include "text/mojibake_tables.h"
#include "text/unicode.h"

namespace torchclip::core {
namespace {

using tables::CharacterSet;
using tables::Encoding;
using tables::Sequence;

const Encoding& kLatin = tables::kEncodings[0];
const Encoding& kWindows = tables::kEncodings[1];
constexpr char32_t kReplacement = 0xfffd;
constexpr unsigned char kSubstitute = 0x1a;

bool contains(const CharacterSet& set, char32_t c) {
  switch (set.kind) {
    case CharacterSet::kSpace:
      return is_python_space(c);
    case CharacterSet::kWord:
      return c == '_' || is_letter(c) || is_number(c);
    case CharacterSet::kNotNewline:
      return c != '\n';
    default: {
      // The first range whose last character is not below c.
      int low = 0, high = set.count;
      while (low < high) {
        const int middle = (low + high) / 2;
        if (set.ranges[2 * middle + 1] < c) {
          low = middle + 1;
        } else {
          high = middle;
        }
      }
      const bool in = low < set.count && set.ranges[2 * low] <= c;
      return in == (set.kind == CharacterSet::kIn);
    }
  }
}

// A text of characters or of bytes as the numbers that the sets hold.
char32_t number_of(char32_t c) { return c; }
char32_t number_of(char c) { return static_cast<unsigned char>(c); }

template <class Text>
bool stands_at(const Sequence& sequence, const Text& text, std::size_t at) {
  if ((sequence.at_start && at > 0) || text.size() - at < sequence.length) return false;
  for (std::size_t i = 0; i < sequence.length; ++i)
    if (!contains(tables::kSets[sequence.sets[i]], number_of(text[at + i]))) return false;
  return true;
}

// How long the first of the sequences is that stands there; 0: none.
template <std::size_t N, class Text>
std::size_t length_at(const Sequence (&sequences)[N], const Text& text, std::size_t at) {
  const auto* found = std::find_if(std::begin(sequences), std::end(sequences),
                                   [&](const Sequence& s) { return stands_at(s, text, at); });
  return found == std::end(sequences) ? 0 : found->length;
}

// Each match of the sequences, from left to right, replaced by what `replace` makes of it.
template <std::size_t N, class Replace>
std::string replaced(const Sequence (&sequences)[N], const std::string& bytes, Replace replace) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t length = length_at(sequences, bytes, i);
    if (length == 0) {
      out += bytes[i++];
    } else {
      out += replace(bytes.substr(i, length));
      i += length;
    }
  }
  return out;
}

bool is_ascii(char32_t c) { return c < 0x80; }

bool is_bad(std::u32string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    // No sequence begins with three characters of ASCII.
    const auto ahead = text.substr(i, 3);
    if (!std::all_of(ahead.begin(), ahead.end(), is_ascii) && length_at(tables::kBadness, text, i) > 0) return true;
  }
  return false;
}

// The bytes that would have been decoded to this text; none: it holds what that encoding does not have.
std::optional<std::string> encoded(std::u32string_view text, const Encoding& encoding) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    if (is_ascii(c) && !(encoding.sloppy && c == kSubstitute)) {
      out += static_cast<char>(c);
    } else if (encoding.sloppy && c == kReplacement) {
      out += static_cast<char>(kSubstitute);
    } else {
      const auto* at = std::find(std::begin(encoding.high), std::end(encoding.high), c);
      if (at == std::end(encoding.high)) return {};
      out += static_cast<char>(0x80 + (at - std::begin(encoding.high)));
    }
  }
  return out;
}

// Portuguese "à" at the end of a word ("Ã " with a plain space); at its beginning ("àquele") the space belongs to the
// word.
std::string separate_a_grave(const std::string& bytes) {
  constexpr std::string_view kLetter = "\xc3 ";
  std::string out;
  for (std::size_t i = 0; i < bytes.size();) {
    const auto rest = std::string_view(bytes).substr(i);
    const bool found = rest.substr(0, 2) == kLetter;
    const auto next = found ? rest.substr(2) : rest;
    const auto follows = [&](std::string_view word) { return next.substr(0, word.size()) == word; };
    if (found && !follows(" ") && !follows("quele") && !follows("quela") && !follows("quilo") && !follows("s ")) {
      out += "\xc3\xa0 ";
      i += 2;
    } else {
      out += bytes[i++];
    }
  }
  return out;
}

std::string restore_a0(const std::string& bytes) {
  bool any = false;
  for (std::size_t i = 0; i < bytes.size() && !any; ++i) any = length_at(tables::kAltered, bytes, i) > 0;
  if (!any) return bytes;
  return replaced(tables::kAltered, separate_a_grave(bytes), [](std::string match) {
    std::replace(match.begin(), match.end(), ' ', '\xa0');
    return match;
  });
}

// UTF-8 with surrogate pairs (CESU-8) and C0 80 for U+0000; none: it is not that.
std::optional<std::u32string> decoded(const std::string& bytes) {
  std::u32string out;
  const auto byte = [&](std::size_t i) -> char32_t {
    return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0x100;
  };
  // A three-byte surrogate's lower ten bits; none: there is no surrogate of that kind.
  const auto surrogate = [&](std::size_t i, char32_t first) -> std::optional<char32_t> {
    const bool is =
        byte(i) == 0xed && byte(i + 1) >= first && byte(i + 1) <= first + 0xf && (byte(i + 2) & 0x1c0) == 0x80;
    if (!is) return {};
    return (byte(i + 1) & 0xf) << 6 | (byte(i + 2) & 0x3f);
  };
  for (std::size_t i = 0; i < bytes.size();) {
    const char32_t lead = byte(i);
    if (lead == 0xc0 && (byte(i + 1) == 0x80 || (byte(i + 1) == '\n' && i + 2 == bytes.size()))) {
      out += char32_t{0};
      i += 2;
      continue;
    }
    const auto high = surrogate(i, 0xa0), low = surrogate(i + 3, 0xb0);
    if (high && low) {
      out += static_cast<char32_t>(0x10000 + (*high << 10 | *low));
      i += 6;
      continue;
    }
    char32_t c = 0;
    const auto length = next_utf8(bytes, i, c);
    if (length == 0) return {};
    out += c;
    i += length;
  }
  return out;
}

// Pieces of UTF-8 read by bytes inside other text, each repaired alone.
std::u32string fix_pieces(const std::u32string& text) {
  const auto& not_before = tables::kSets[tables::kNotBeforeMisread];
  std::u32string out;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    if (i == 0 || !contains(not_before, text[i - 1]))
      while (const std::size_t length = end < text.size() ? length_at(tables::kMisread, text, end) : 0) end += length;
    if (end == i) {
      out += text[i++];
      continue;
    }
    const auto piece = text.substr(i, end - i);
    out += piece.size() < text.size() && is_bad(piece) ? fix_encoding(piece) : piece;
    i = end;
  }
  return out;
}

// Windows-1252 for what Latin-1 has no letters for; where Windows-1252 has none either, `strict` gives up.
std::optional<std::u32string> as_windows(std::u32string text, bool strict) {
  for (char32_t& c : text) {
    if (c < 0x80 || c > 0x9f) continue;
    const char32_t letter = kWindows.high[c - 0x80];
    if (strict && letter == c) return {};
    c = letter;
  }
  return text;
}

std::u32string fix_once(const std::u32string& text) {
  if (std::all_of(text.begin(), text.end(), is_ascii) || !is_bad(text)) return text;
  bool latin = false;
  for (const Encoding& encoding : tables::kEncodings) {
    auto bytes = encoded(text, encoding);
    if (!bytes) continue;
    if (&encoding == &kLatin) latin = true;
    if (encoding.restores_a0) bytes = restore_a0(*bytes);
    if (encoding.sloppy) bytes = replaced(tables::kLossy, *bytes, [](const std::string&) { return "\xef\xbf\xbd"; });
    if (auto fixed = decoded(*bytes)) return *fixed;
  }
  if (auto fixed = fix_pieces(text); fixed != text) return fixed;
  if (latin)
    if (auto fixed = as_windows(text, true); fixed && *fixed != text) return *fixed;
  return *as_windows(text, false);
}

}  // namespace

std::u32string fix_encoding(std::u32string text) {
  for (;;) {
    auto fixed = fix_once(text);
    if (fixed == text) return text;
    text = std::move(fixed);
  }
}

}  // namespace torchclip::core
