#include "text/tokenizer.h"

#include <climits>

#include "runtime/error.h"
#include "text/clean.h"
#include "text/unicode.h"

namespace torchclip::core {
namespace {

constexpr char32_t kStart[] = U"<|startoftext|>", kEnd[] = U"<|endoftext|>";
// In no word: the reference matches without regard to case, for which it is a letter to one part and none to another.
constexpr char32_t kYpogegrammeni = 0x345;

// The length of the word that begins at text[at]; 0: none does.
std::size_t word_length(std::u32string_view text, std::size_t at) {
  const auto rest = text.substr(at);
  for (const std::u32string_view whole :
       {std::u32string_view(kStart), std::u32string_view(kEnd), std::u32string_view(U"'s"), std::u32string_view(U"'t"),
        std::u32string_view(U"'re"), std::u32string_view(U"'ve"), std::u32string_view(U"'m"),
        std::u32string_view(U"'ll"), std::u32string_view(U"'d")}) {
    if (rest.substr(0, whole.size()) == whole) return whole.size();
  }
  if (is_number(rest[0])) return 1;
  const auto run = [&](auto&& belongs) {
    std::size_t n = 0;
    while (n < rest.size() && belongs(rest[n])) ++n;
    return n;
  };
  if (const auto n = run(is_letter)) return n;
  return run([](char32_t c) { return !is_space(c) && !is_letter(c) && !is_number(c) && c != kYpogegrammeni; });
}

}  // namespace

Tokenizer::Tokenizer(const std::string& tokenizer_json, const std::string& torchclip_json) {
  const auto settings = Json::parse(torchclip_json);
  const auto& own = settings["tokenizer"];
  const auto clean = own["clean"].text("none");
  if (own["kind"].text("clip") != "clip" || (clean != "none" && clean != "openai")) {
    throw Error(TORCHCLIP_E_ARGUMENT,
                "this model's tokenizer is not CLIP's own: give token ids instead (encode_tokens), or use JavaScript");
  }
  openai_ = clean == "openai";
  const auto json = Json::parse(tokenizer_json);
  for (const auto& [token, value] : json["model"]["vocab"].members()) {
    const double id = value.number(-1);
    if (!(id >= 0 && id <= INT_MAX)) {
      throw Error(TORCHCLIP_E_MODEL_CORRUPT, "tokenizer.json: the vocabulary holds a token without an id");
    }
    vocabulary_.emplace(token, static_cast<std::int32_t>(id));
  }
  std::int32_t rank = 0;
  for (const auto& merge : json["model"]["merges"].items()) {
    const auto& pair = merge.items();
    ranks_.emplace(pair.size() == 2 ? pair[0].text() + " " + pair[1].text() : merge.text(), rank++);
  }
  if (!vocabulary_.count(to_utf8(kEnd))) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, "the artifact's tokenizer.json has no <|endoftext|>");
  }
  end_ = id(to_utf8(kEnd));
  start_ = id(to_utf8(kStart));
  // GPT-2's bytes_to_unicode: printable bytes are themselves, the others get letters from U+0100 on.
  char32_t other = 0x100;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    const char32_t letter = printable ? static_cast<char32_t>(b) : other++;
    letters_[b] = to_utf8({&letter, 1});
  }
}

// As the reference: what the vocabulary lacks reads as the end token.
std::int32_t Tokenizer::id(const std::string& token) const {
  const auto at = vocabulary_.find(token);
  return at == vocabulary_.end() ? end_ : at->second;
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  auto plain = from_utf8(text);
  // Else the normaliser of CLIP's tokenizer.json: NFC, single spaces, lower case. Spaces end words, however many there
  // are.
  plain = lower(openai_ ? clean_as_openai(plain) : normalize_nfc(plain));
  std::vector<std::int32_t> ids{start_};
  for (std::size_t i = 0; i < plain.size();) {
    const auto length = word_length(plain, i);
    if (length) word(std::u32string_view(plain).substr(i, length), ids);
    i += length ? length : 1;
  }
  ids.push_back(end_);
  return ids;
}

void Tokenizer::word(std::u32string_view word, std::vector<std::int32_t>& out) const {
  if (word == kStart || word == kEnd) return out.push_back(word == kStart ? start_ : end_);
  std::vector<std::string> parts;
  for (const char byte : to_utf8(word)) parts.push_back(letters_[static_cast<unsigned char>(byte)]);
  parts.back() += "</w>";
  while (parts.size() > 1) {
    std::int32_t best = INT_MAX;
    std::string a, b;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto at = ranks_.find(parts[i] + " " + parts[i + 1]);
      if (at != ranks_.end() && at->second < best) {
        best = at->second;
        a = parts[i];
        b = parts[i + 1];
      }
    }
    if (best == INT_MAX) break;
    // Every occurrence of the pair at once, from left to right.
    std::size_t to = 0;
    for (std::size_t from = 0; from < parts.size(); ++to) {
      if (from + 1 < parts.size() && parts[from] == a && parts[from + 1] == b) {
        parts[to] = a + b;
        from += 2;
      } else {
        parts[to] = parts[from++];
      }
    }
    parts.resize(to);
  }
  for (const auto& part : parts) out.push_back(id(part));
}

}  // namespace torchclip::core
