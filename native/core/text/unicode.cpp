#include "text/unicode.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "text/tables.h"

namespace torchclip::core {
namespace {

template <std::size_t N>
bool within(const tables::Range (&ranges)[N], char32_t c) {
  const auto* at = std::upper_bound(std::begin(ranges), std::end(ranges), c,
                                    [](char32_t x, const tables::Range& r) { return x < r.first; });
  return at != std::begin(ranges) && c <= at[-1].last;
}

// The mapping of c, or null.
template <std::size_t N>
const tables::Mapping* find(const tables::Mapping (&mappings)[N], char32_t c) {
  const auto* at = std::lower_bound(std::begin(mappings), std::end(mappings), c,
                                    [](const tables::Mapping& m, char32_t x) { return m.from < x; });
  return at != std::end(mappings) && at->from == c ? at : nullptr;
}

template <std::size_t N>
std::u32string mapped(const tables::Mapping (&mappings)[N], std::u32string_view text) {
  std::u32string out;
  for (const char32_t c : text) {
    if (const auto* m = find(mappings, c)) {
      for (const char32_t to : m->to) {
        if (to) out += to;
      }
    } else {
      out += c;
    }
  }
  return out;
}

int rank_of(char32_t c) {
  const auto* at = std::lower_bound(std::begin(tables::kClasses), std::end(tables::kClasses), c,
                                    [](const tables::Class& k, char32_t x) { return k.point < x; });
  return at != std::end(tables::kClasses) && at->point == c ? at->rank : 0;
}

// Hangul syllables, by the arithmetic of the Unicode standard (chapter 3.12).
constexpr char32_t kSyllables = 0xac00, kLeading = 0x1100, kVowels = 0x1161, kTrailing = 0x11a7;
constexpr char32_t kLeadingCount = 19, kVowelCount = 21, kTrailingCount = 28;
constexpr char32_t kSyllableCount = kLeadingCount * kVowelCount * kTrailingCount;

char32_t composed(char32_t a, char32_t b) {
  if (a >= kLeading && a < kLeading + kLeadingCount && b >= kVowels && b < kVowels + kVowelCount) {
    return kSyllables + ((a - kLeading) * kVowelCount + (b - kVowels)) * kTrailingCount;
  }
  if (a >= kSyllables && a < kSyllables + kSyllableCount && (a - kSyllables) % kTrailingCount == 0 && b > kTrailing &&
      b < kTrailing + kTrailingCount) {
    return a + (b - kTrailing);
  }
  const auto* at = std::lower_bound(std::begin(tables::kCompositions), std::end(tables::kCompositions), std::pair(a, b),
                                    [](const tables::Composition& c, const std::pair<char32_t, char32_t>& x) {
                                      return std::pair(c.first, c.second) < x;
                                    });
  return at != std::end(tables::kCompositions) && at->first == a && at->second == b ? at->whole : 0;
}

std::u32string decomposed(std::u32string_view text) {
  std::u32string out;
  for (const char32_t c : text) {
    if (c >= kSyllables && c < kSyllables + kSyllableCount) {
      const char32_t i = c - kSyllables;
      const auto add = [&](char32_t part) { out += part; };
      add(kLeading + i / (kVowelCount * kTrailingCount));
      add(kVowels + i / kTrailingCount % kVowelCount);
      if (i % kTrailingCount) add(kTrailing + i % kTrailingCount);
    } else {
      out += mapped(tables::kDecomposed, {&c, 1});
    }
  }
  // Runs of marks into the order of their classes.
  for (std::size_t i = 0; i < out.size();) {
    std::size_t end = i;
    while (end < out.size() && rank_of(out[end])) ++end;
    std::stable_sort(out.begin() + static_cast<std::ptrdiff_t>(i), out.begin() + static_cast<std::ptrdiff_t>(end),
                     [](char32_t a, char32_t b) { return rank_of(a) < rank_of(b); });
    i = end + 1;
  }
  return out;
}

}  // namespace

std::size_t next_utf8(std::string_view text, std::size_t at, char32_t& c) {
  const auto first = static_cast<unsigned char>(text[at]);
  const std::size_t length = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
  if (length == 0 || at + length > text.size()) return 0;
  c = length == 1 ? first : first & (0x7f >> length);
  for (std::size_t j = 1; j < length; ++j) {
    const auto next = static_cast<unsigned char>(text[at + j]);
    if (next >> 6 != 2) return 0;
    c = c << 6 | (next & 0x3f);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  return c < kLeast[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : length;
}

std::u32string from_utf8(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    char32_t c = 0;
    const auto length = next_utf8(text, i, c);
    if (length == 0) throw Error(TORCHCLIP_E_ARGUMENT, "byte " + std::to_string(i) + " is no UTF-8");
    out += c;
    i += length;
  }
  return out;
}

std::u32string from_utf16(std::u16string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (const char16_t unit : text) {
    const bool pair = !out.empty() && unit >> 10 == 0x37 && out.back() >> 10 == 0x36;
    if (pair) {
      out.back() = 0x10000 + ((out.back() & 0x3ff) << 10 | (unit & 0x3ff));
    } else {
      out += unit;
    }
  }
  return out;
}

std::u16string to_utf16(std::u32string_view text) {
  std::u16string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    if (c < 0x10000) {
      out += static_cast<char16_t>(c);
    } else {
      out += static_cast<char16_t>(0xd800 + ((c - 0x10000) >> 10));
      out += static_cast<char16_t>(0xdc00 + (c & 0x3ff));
    }
  }
  return out;
}

std::string to_utf8(std::u32string_view text) {
  std::string out;
  for (const char32_t c : text) {
    const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (c >> shift & 0x3f)); };
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += static_cast<char>(0xc0 | c >> 6);
      tail(0);
    } else if (c < 0x10000) {
      out += static_cast<char>(0xe0 | c >> 12);
      tail(6);
      tail(0);
    } else {
      out += static_cast<char>(0xf0 | c >> 18);
      tail(12);
      tail(6);
      tail(0);
    }
  }
  return out;
}

bool is_letter(char32_t c) { return within(tables::kLetters, c); }

bool is_number(char32_t c) { return within(tables::kNumbers, c); }

bool is_space(char32_t c) {
  return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
         c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_python_space(char32_t c) { return is_space(c) || (c >= 0x1c && c <= 0x1f); }

std::u32string normalize_nfc(std::u32string_view text) {
  if (std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x300; })) return std::u32string(text);
  auto parts = decomposed(text);
  std::u32string out;
  std::size_t starter = std::u32string::npos;  // where the last character of class 0 stands in `out`
  int last = 0;                                // class of the last character after it; -1: none
  for (const char32_t c : parts) {
    const int rank = rank_of(c);
    if (starter != std::u32string::npos && last < rank) {
      if (const char32_t whole = composed(out[starter], c)) {
        out[starter] = whole;
        continue;
      }
    }
    if (rank == 0) {
      starter = out.size();
      last = -1;
    } else {
      last = rank;
    }
    out += c;
  }
  return out;
}

// Unicode's Final_Sigma: a cased character before it and none after it, with case-ignorable ones between.
std::u32string final_sigmas(std::u32string_view text) {
  constexpr char32_t kSigma = 0x3a3, kFinalSigma = 0x3c2;
  std::u32string out(text);
  const auto cased_beside = [&](std::size_t i, int step) {
    do {
      i += static_cast<std::size_t>(step);
    } while (i < text.size() && within(tables::kCaseIgnorable, text[i]));
    return i < text.size() && within(tables::kCased, text[i]);
  };
  for (std::size_t i = text.find(kSigma); i != std::u32string_view::npos; i = text.find(kSigma, i + 1))
    if (cased_beside(i, -1) && !cased_beside(i, 1)) out[i] = kFinalSigma;
  return out;
}

std::u32string lower(std::u32string_view text) { return mapped(tables::kLower, text); }

std::u32string widths(std::u32string_view text) { return mapped(tables::kWidths, text); }

}  // namespace torchclip::core
