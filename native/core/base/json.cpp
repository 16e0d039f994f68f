#include "base/json.h"

#include <charconv>

#include "base/error.h"
#include "base/platform_number.h"

namespace torchclip::core {

class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text) {}

  Json whole() {
    Json value = read(0);
    blanks();
    if (at_ != text_.size()) fail("something after its end");
    return value;
  }

 private:
  static constexpr int kDeepest = 64;

  [[noreturn]] void fail(const char* what) const {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, "JSON: " + std::string(what) + " at offset " + std::to_string(at_));
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void blanks() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  bool take(char c) {
    blanks();
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void want(char c) {
    if (!take(c)) fail("an unexpected character");
  }
  bool word(std::string_view w) {
    if (text_.substr(at_, w.size()) != w) return false;
    at_ += w.size();
    return true;
  }

  Json read(int depth) {
    if (depth > kDeepest) fail("too deep");
    blanks();
    Json value;
    const char c = peek();
    if (c == '{') {
      ++at_;
      value.kind_ = Json::Kind::object;
      if (take('}')) return value;
      do {
        blanks();
        auto name = string();
        want(':');
        value.members_[name] = read(depth + 1);
      } while (take(','));
      want('}');
    } else if (c == '[') {
      ++at_;
      value.kind_ = Json::Kind::array;
      if (take(']')) return value;
      do value.items_.push_back(read(depth + 1));
      while (take(','));
      want(']');
    } else if (c == '"') {
      value.kind_ = Json::Kind::string;
      value.text_ = string();
    } else if (word("true")) {
      value.kind_ = Json::Kind::boolean;
      value.number_ = 1;
    } else if (word("false")) {
      value.kind_ = Json::Kind::boolean;
    } else if (!word("null")) {
      const std::size_t length = read_double(text_.substr(at_), value.number_);
      if (length == 0) fail("no value");
      value.kind_ = Json::Kind::number;
      at_ += length;
    }
    return value;
  }

  std::string string() {
    if (peek() != '"') fail("no string");
    ++at_;
    std::string out;
    for (;;) {
      if (at_ >= text_.size()) fail("a string without end");
      const char c = text_[at_++];
      if (c == '"') return out;
      if (c != '\\') {
        out += c;
        continue;
      }
      const char escape = peek();
      ++at_;
      constexpr std::string_view from = "\"\\/bfnrt", to = "\"\\/\b\f\n\r\t";
      if (const auto i = from.find(escape); i != std::string_view::npos) {
        out += to[i];
      } else if (escape == 'u') {
        utf8(code_unit(), out);
      } else {
        fail("an unknown escape");
      }
    }
  }

  unsigned code_unit() {
    unsigned value = 0;
    if (at_ + 4 > text_.size() ||
        std::from_chars(text_.data() + at_, text_.data() + at_ + 4, value, 16).ptr != text_.data() + at_ + 4) {
      fail("a bad \\u escape");
    }
    at_ += 4;
    return value;
  }

  // A pair of surrogates is one character; a lone one becomes U+FFFD, as it has no UTF-8.
  void utf8(unsigned c, std::string& out) {
    constexpr unsigned kReplacement = 0xFFFD;
    const bool is_high = c >= 0xD800 && c < 0xDC00, is_low = c >= 0xDC00 && c < 0xE000;
    if (is_high || is_low) {
      const std::size_t behind = at_;
      const unsigned low = is_high && word("\\u") ? code_unit() : 0;
      if (low >= 0xDC00 && low < 0xE000) {
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
      } else {
        c = kReplacement;
        at_ = behind;  // what follows is read for itself
      }
    }
    const auto push = [&](unsigned byte) { out += static_cast<char>(byte); };
    if (c < 0x80) return push(c);
    if (c < 0x800) {
      push(0xC0 | c >> 6);
    } else if (c < 0x10000) {
      push(0xE0 | c >> 12);
      push(0x80 | (c >> 6 & 0x3F));
    } else {
      push(0xF0 | (c >> 18 & 7));
      push(0x80 | (c >> 12 & 0x3F));
      push(0x80 | (c >> 6 & 0x3F));
    }
    push(0x80 | (c & 0x3F));
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

Json Json::parse(std::string_view text) { return JsonReader(text).whole(); }

const Json& Json::operator[](const std::string& name) const {
  static const Json none;
  const auto found = members_.find(name);
  return found == members_.end() ? none : found->second;
}

}  // namespace torchclip::core
