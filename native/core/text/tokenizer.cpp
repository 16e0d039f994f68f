#include "text/tokenizer.h"

#include <algorithm>
#include <climits>

#include "base/error.h"
#include "text/clean.h"
#include "text/unicode.h"

namespace torchclip::core {
namespace {

constexpr char32_t kStart[] = U"<|startoftext|>", kEnd[] = U"<|endoftext|>";
// In no word of openai/CLIP and open_clip: they match without regard to case, for which it is a letter to one part of
// their expression and none to another.
constexpr char32_t kYpogegrammeni = 0x345;

// What \w means to the regular expressions of Hugging Face's tokenizers, but for marks.
bool in_word(char32_t c) { return is_letter(c) || is_number(c) || c == U'_'; }

// NFC, single spaces, lower case: the normaliser of CLIP's tokenizer.json.
std::u32string normalized(std::u32string_view text) {
  std::u32string out;
  for (const char32_t c : normalize_nfc(text)) {
    if (!is_space(c)) {
      out += c;
    } else if (out.empty() || out.back() != U' ') {
      out += U' ';
    }
  }
  return lower(out);
}

}  // namespace

Tokenizer::AddedTokens Tokenizer::added_tokens(const Json& tokenizer, bool of_normalized) {
  AddedTokens tokens;
  for (const auto& token : tokenizer["added_tokens"].items()) {
    const auto content = token["content"].text();
    if (content.empty() || token["normalized"].boolean() != of_normalized) continue;
    const auto plain = from_utf8(content);
    tokens.push_back({of_normalized ? normalized(plain) : plain, static_cast<std::int32_t>(token["id"].number()),
                      token["single_word"].boolean(), token["lstrip"].boolean(), token["rstrip"].boolean()});
  }
  // Of those that begin at the same place, the longest is found.
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.content.size() > b.content.size(); });
  return tokens;
}

template <class Between>
void Tokenizer::split(std::u32string_view text, const AddedTokens& tokens, std::vector<std::int32_t>& out,
                      Between&& between) {
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto found = std::find_if(tokens.begin(), tokens.end(), [&](const AddedToken& token) {
      return text.substr(at, token.content.size()) == token.content;
    });
    if (found == tokens.end()) {
      ++at;
      continue;
    }
    std::size_t first = at, last = at + found->content.size();
    at = last;
    if (found->single_word &&
        ((first > 0 && in_word(text[first - 1])) || (last < text.size() && in_word(text[last])))) {
      continue;
    }
    while (found->left_strip && first > done && is_space(text[first - 1])) --first;
    while (found->right_strip && last < text.size() && is_space(text[last])) ++last;
    if (done < first) between(text.substr(done, first - done));
    out.push_back(found->id);
    done = at = last;
  }
  if (done < text.size()) between(text.substr(done));
}

// The length of the word that `text` begins with; 0: it begins with none.
std::size_t Tokenizer::word_length(std::u32string_view text) const {
  if (dialect_ != Dialect::transformers) {
    for (const auto* special : {&start_text_, &end_text_}) {
      if (text.substr(0, special->size()) == *special) return special->size();
    }
  }
  for (const std::u32string_view ending : {U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"}) {
    if (text.substr(0, ending.size()) == ending) return ending.size();
  }
  if (is_number(text[0])) return 1;
  const auto run = [&](auto&& belongs) {
    std::size_t n = 0;
    while (n < text.size() && belongs(text[n])) ++n;
    return n;
  };
  if (const auto n = run(is_letter)) return n;
  return run([&](char32_t c) {
    return !is_space(c) && !is_letter(c) && !is_number(c) && (c != kYpogegrammeni || dialect_ == Dialect::transformers);
  });
}

Tokenizer::Tokenizer(const std::string& tokenizer_json, const std::string& torchclip_json) {
  const auto settings = Json::parse(torchclip_json);
  const auto& options = settings["tokenizer"];
  const auto clean = options["clean"].text("none");
  const auto dialect = options["dialect"].text(clean == "openai" ? "openai" : "transformers");
  if (options["kind"].text("clip") != "clip" || (clean != "none" && clean != "openai")) {
    throw Error(TORCHCLIP_E_ARGUMENT,
                "this model's tokenizer is not CLIP's own: give token ids instead (encode_tokens), or use JavaScript");
  }
  cleans_ = clean == "openai";
  dialect_ = dialect == "open_clip" ? Dialect::open_clip
             : dialect == "openai"  ? Dialect::openai
                                    : Dialect::transformers;
  start_text_ = dialect_ == Dialect::open_clip ? U"<start_of_text>" : kStart;
  end_text_ = dialect_ == Dialect::open_clip ? U"<end_of_text>" : kEnd;
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
  if (dialect_ == Dialect::transformers) {
    raw_tokens_ = added_tokens(json, false);
    normalized_tokens_ = added_tokens(json, true);
  }
  // GPT-2's bytes_to_unicode: printable bytes are themselves, the others get letters from U+0100 on.
  char32_t other = 0x100;
  for (std::size_t b = 0; b < letters_.size(); ++b) {
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
  const auto plain = from_utf8(text);
  std::vector<std::int32_t> ids{start_};
  if (dialect_ != Dialect::transformers) {
    words(lower(cleans_ ? clean_as_openai(plain) : normalize_nfc(plain)), ids);
  } else {
    split(cleans_ ? lower(clean_as_openai(plain)) : plain, raw_tokens_, ids, [&](std::u32string_view part) {
      split(normalized(part), normalized_tokens_, ids, [&](std::u32string_view rest) { words(rest, ids); });
    });
  }
  ids.push_back(end_);
  return ids;
}

void Tokenizer::words(std::u32string_view text, std::vector<std::int32_t>& out) const {
  for (std::size_t i = 0; i < text.size();) {
    const auto length = word_length(text.substr(i));
    if (length) word(text.substr(i, length), out);
    i += length ? length : 1;
  }
}

void Tokenizer::word(std::u32string_view word, std::vector<std::int32_t>& out) const {
  if (dialect_ != Dialect::transformers && (word == start_text_ || word == end_text_)) {
    return out.push_back(word == start_text_ ? start_ : end_);
  }
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
