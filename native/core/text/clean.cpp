#include "text/clean.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <optional>

#include "text/mojibake.h"
#include "text/tables.h"
#include "text/unicode.h"

namespace torchclip::core {
namespace {

constexpr char32_t kReplacement = 0xfffd;

// Windows-1252 at 0x80 to 0x9f; where it has nothing, the byte itself.
constexpr char32_t kWindows[] = {0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
                                 0x2039, 0x152,  0x8d,   0x17d,  0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
                                 0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178};

// ftfy/chardata.py: LIGATURES
struct Ligature {
  char32_t from;
  const char32_t* to;
};
constexpr Ligature kLigatures[] = {{0x132, U"IJ"},       {0x133, U"ij"},      {0x149, U"\u02bcn"}, {0x1c4, U"D\u017d"},
                                   {0x1c5, U"D\u017e"},  {0x1c6, U"d\u017e"}, {0x1c7, U"LJ"},      {0x1c8, U"Lj"},
                                   {0x1c9, U"lj"},       {0x1ca, U"NJ"},      {0x1cb, U"Nj"},      {0x1cc, U"nj"},
                                   {0x1f1, U"DZ"},       {0x1f2, U"Dz"},      {0x1f3, U"dz"},      {0xfb00, U"ff"},
                                   {0xfb01, U"fi"},      {0xfb02, U"fl"},     {0xfb03, U"ffi"},    {0xfb04, U"ffl"},
                                   {0xfb05, U"\u017ft"}, {0xfb06, U"st"}};

bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }
bool is_hex(char32_t c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_ascii_letter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// A named character, `name` without "&" and with its semicolon where it has one; null: there is none.
const char* entity(std::string_view name) {
  const auto* at = std::lower_bound(std::begin(tables::kEntities), std::end(tables::kEntities), name,
                                    [](const tables::Entity& e, std::string_view x) { return e.name < x; });
  return at != std::end(tables::kEntities) && at->name == name ? at->text : nullptr;
}

// What html.unescape makes of a character's number.
std::u32string numbered(std::uint64_t n) {
  if (n == 0 || (n >= 0xd800 && n <= 0xdfff) || n > 0x10ffff) return {kReplacement};
  if (n >= 0x80 && n <= 0x9f) return {kWindows[n - 0x80]};
  const bool nothing = (n >= 0x1 && n <= 0x8) || n == 0xb || (n >= 0xe && n <= 0x1f) || n == 0x7f ||
                       (n >= 0xfdd0 && n <= 0xfdef) || (n & 0xfffe) == 0xfffe;
  if (nothing) return {};
  return {static_cast<char32_t>(n)};
}

struct Found {
  std::size_t end;  // after what was read
  std::u32string text;
};

// A character's number at text[at] = "&", "#": digits are needed, the semicolon is not.
std::optional<Found> number_at(std::u32string_view text, std::size_t at) {
  std::size_t i = at + 2;
  const bool hex = i < text.size() && (text[i] == 'x' || text[i] == 'X');
  if (hex) ++i;
  const std::size_t first = i;
  std::uint64_t n = 0;
  for (; i < text.size() && (hex ? is_hex(text[i]) : is_digit(text[i])); ++i) {
    const auto digit = is_digit(text[i]) ? text[i] - '0' : (text[i] | 0x20) - 'a' + 10;
    n = std::min<std::uint64_t>(n * (hex ? 16 : 10) + digit, 0x110000);
  }
  if (i == first) return {};
  if (i < text.size() && text[i] == ';') ++i;
  return Found{i, numbered(n)};
}

// ftfy's entities in text without "<": with a semicolon; upper-case names of Latin letters too.
std::u32string fix_entities(std::u32string_view text) {
  std::u32string out;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] != '&') {
      out += text[i++];
      continue;
    }
    std::size_t end = i + 1;
    const bool numeric = end < text.size() && text[end] == '#';
    if (numeric) ++end;
    const std::size_t first = end;
    while (end < text.size() && end - first < 24 && (is_digit(text[end]) || is_ascii_letter(text[end]))) ++end;
    if (end == first || end >= text.size() || text[end] != ';') {
      out += text[i++];
      continue;
    }
    const auto whole = text.substr(i, end + 1 - i);
    std::optional<std::u32string> known;
    if (numeric) {
      const auto found = number_at(whole, 0);
      if (found && found->end == whole.size()) known = found->text;
    } else {
      auto name = to_utf8(whole.substr(1));
      if (const char* value = entity(name)) {
        known = from_utf8(value);
      } else if (std::all_of(name.begin(), name.end() - 1, [](char c) { return c >= 'A' && c <= 'Z'; })) {
        std::transform(name.begin(), name.end(), name.begin(),
                       [](char c) { return c == ';' ? c : static_cast<char>(c | 0x20); });
        const char* lowered = entity(name);
        const auto letter = lowered ? from_utf8(lowered) : std::u32string();
        // The upper case of a Latin letter: sharp s has none of one character, y with diaeresis lies elsewhere.
        if (letter.size() == 1 && letter[0] >= 0xc0 && letter[0] <= 0xff) {
          known = letter[0] == 0xdf                        ? std::u32string(U"SS")
                  : letter[0] == 0xff                      ? std::u32string(U"\u0178")
                  : letter[0] >= 0xe0 && letter[0] != 0xf7 ? std::u32string{letter[0] - 0x20}
                                                           : letter;
        }
      }
    }
    out += known ? *known : std::u32string(whole);
    i = end + 1;
  }
  return out;
}

std::u32string without_terminal_codes(std::u32string_view text) {
  std::u32string out;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    if (text[i] == 0x1b && i + 1 < text.size() && text[i + 1] == '[') {
      end = i + 2;
      while (end < text.size() && (is_digit(text[end]) || text[end] == ';')) ++end;
      end = end < text.size() && is_ascii_letter(text[end]) ? end + 1 : i;
    }
    if (end > i) {
      i = end;
    } else {
      out += text[i++];
    }
  }
  return out;
}

bool is_control(char32_t c) {
  return c <= 8 || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || (c >= 0x206a && c <= 0x206f) || c == 0xfeff ||
         (c >= 0xfff9 && c <= 0xfffc);
}

std::u32string fix_line_once(std::u32string line, bool entities) {
  if (entities && line.find('&') != std::u32string::npos) line = fix_entities(line);
  line = fix_encoding(std::move(line));
  std::u32string out;
  for (const char32_t c : line) {
    const auto* ligature =
        std::find_if(std::begin(kLigatures), std::end(kLigatures), [c](const Ligature& l) { return l.from == c; });
    if (c >= 0x80 && c <= 0x9f) {
      out += kWindows[c - 0x80];
    } else if (ligature != std::end(kLigatures)) {
      out += ligature->to;
    } else {
      out += c;
    }
  }
  std::replace(out.begin(), out.end(), char32_t{0x3000}, char32_t{' '});
  out = widths(out);
  std::u32string quoted;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const char32_t c = out[i];
    if (c >= 0x201c && c <= 0x201f) {
      quoted += '"';
    } else if (c == 0x2bc || (c >= 0x2018 && c <= 0x201b)) {
      quoted += '\'';
    } else if (c == '\r' || c == 0x2028 || c == 0x2029 || c == 0x85) {
      quoted += '\n';
      if (c == '\r' && i + 1 < out.size() && out[i + 1] == '\n') ++i;
    } else {
      quoted += c;
    }
  }
  quoted = without_terminal_codes(quoted);
  quoted.erase(std::remove_if(quoted.begin(), quoted.end(), is_control), quoted.end());
  return normalize_nfc(quoted);
}

// ftfy works line by line, and from the first "<" on leaves entities alone.
std::u32string fix_text(std::u32string_view text) {
  std::u32string out;
  bool entities = true;
  for (std::size_t start = 0; start < text.size();) {
    const auto newline = text.find('\n', start);
    const std::size_t end = newline == std::u32string_view::npos ? text.size() : newline + 1;
    std::u32string line(text.substr(start, end - start));
    if (line.find('<') != std::u32string::npos) entities = false;
    for (;;) {
      auto fixed = fix_line_once(line, entities);
      if (fixed == line) break;
      line = std::move(fixed);
    }
    out += line;
    start = end;
  }
  return out;
}

}  // namespace

std::u32string unescape_html(std::u32string_view text) {
  if (text.find('&') == std::u32string_view::npos) return std::u32string(text);
  constexpr std::size_t kLongest = 32;
  std::u32string out;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] != '&') {
      out += text[i++];
      continue;
    }
    if (i + 1 < text.size() && text[i + 1] == '#') {
      if (const auto found = number_at(text, i)) {
        out += found->text;
        i = found->end;
        continue;
      }
    }
    std::size_t end = i + 1;
    while (end < text.size() && end - i - 1 < kLongest &&
           std::u32string_view(U"\t\n\f <&#;").find(text[end]) == std::u32string_view::npos)
      ++end;
    if (end < text.size() && end > i + 1 && text[end] == ';') ++end;
    // The whole name, else the longest beginning of it.
    const auto name = to_utf8(text.substr(i + 1, end - i - 1));
    std::size_t length = name.size();
    const char* value = nullptr;
    for (; length > 1 && !(value = entity(std::string_view(name).substr(0, length))); --length) {
    }
    if (!value) {
      out += text[i++];
      continue;
    }
    out += from_utf8(value);
    i += 1 + length;  // names are ASCII
  }
  return out;
}

std::u32string clean_as_openai(std::u32string_view text) {
  const auto plain = unescape_html(unescape_html(fix_text(text)));
  std::u32string out;
  for (const char32_t c : plain) {
    if (!is_python_space(c)) {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return final_sigmas(out);
}

}  // namespace torchclip::core
