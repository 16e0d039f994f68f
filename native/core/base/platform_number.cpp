#include "base/platform_number.h"

#include <charconv>
#include <clocale>
#include <cmath>
#include <cstdlib>
#include <string>
#include <system_error>

#if defined(__APPLE__)
#include <xlocale.h>
#endif

namespace torchclip::core {
namespace {

double strtod_of_c(const char* text) {
#if defined(_WIN32)
  static const _locale_t c_locale = _create_locale(LC_ALL, "C");
  return _strtod_l(text, nullptr, c_locale);
#else
  static const locale_t c_locale = newlocale(LC_ALL_MASK, "C", nullptr);
  return strtod_l(text, nullptr, c_locale);
#endif
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// How long the decimal number at the beginning is; 0 if there is none.
std::size_t decimal_length(std::string_view text) {
  std::size_t at = 0;
  const auto skip_digits = [&] {
    const std::size_t first = at;
    while (at < text.size() && is_digit(text[at])) ++at;
    return at - first;
  };
  if (at < text.size() && text[at] == '-') ++at;
  std::size_t digits = skip_digits();
  if (at < text.size() && text[at] == '.') {
    ++at;
    digits += skip_digits();
  }
  if (digits == 0) return 0;
  const std::size_t mantissa_end = at;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    if (skip_digits() > 0) return at;
  }
  return mantissa_end;
}

bool has_nonzero_digit(std::string_view number) {
  const std::string_view mantissa = number.substr(0, number.find_first_of("eE"));
  return mantissa.find_first_of("123456789") != std::string_view::npos;
}

// The length of "inf", "infinity" or "nan", in letters of either case.
std::size_t word_length(std::string_view text) {
  const auto begins_with = [&](std::string_view word) {
    if (text.size() < word.size()) return false;
    for (std::size_t i = 0; i < word.size(); ++i) {
      if ((text[i] | 0x20) != word[i]) return false;
    }
    return true;
  };
  for (const std::string_view word : {"infinity", "inf", "nan"}) {
    if (begins_with(word)) return word.size();
  }
  return 0;
}

}  // namespace

std::size_t read_double_by_strtod(std::string_view text, double& number) {
  const std::size_t sign = text.substr(0, 1) == "-" ? 1 : 0;
  if (const std::size_t length = word_length(text.substr(sign)); length > 0) {
    number = strtod_of_c(std::string(text.substr(0, sign + length)).c_str());
    return sign + length;
  }
  const std::size_t length = decimal_length(text);
  if (length == 0) return 0;
  const std::string digits(text.substr(0, length));
  const double value = strtod_of_c(digits.c_str());
  if (std::isinf(value) || (value == 0 && has_nonzero_digit(digits))) return 0;
  number = value;
  return length;
}

std::size_t read_double(std::string_view text, double& number) {
#if defined(__cpp_lib_to_chars)
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} ? static_cast<std::size_t>(stop - text.data()) : 0;
#else
  return read_double_by_strtod(text, number);
#endif
}

}  // namespace torchclip::core
