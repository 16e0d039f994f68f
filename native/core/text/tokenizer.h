// CLIP's byte-level BPE with an artifact's tokenizer.json, for services without JavaScript. lib/text/bpe.ts is the
// TypeScript implementation, and a test compares the two.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"

namespace torchclip::core {

class Tokenizer {
 public:
  // tokenizer_json and torchclip_json are the contents of the artifact's files. Throws Error(E_ARGUMENT) if the model's
  // tokenizer (SentencePiece, WordPiece ...) or its text cleaning is not CLIP's.
  Tokenizer(const std::string& tokenizer_json, const std::string& torchclip_json);

  // Returns the ids of a UTF-8 text including the start and end tokens, without truncation or padding.
  std::vector<std::int32_t> encode(std::string_view text) const;

  std::int32_t end_id() const noexcept { return end_; }

 private:
  // The library whose tokenizer this is: `dialect` of TokenizerConfig in lib/text/types.ts.
  enum class Dialect { openai, open_clip, transformers };
  // An entry of `added_tokens` in tokenizer.json. The text is searched for these tokens before it is split into words.
  struct AddedToken {
    std::u32string content;
    std::int32_t id = 0;
    bool single_word = false, left_strip = false, right_strip = false;
  };
  using AddedTokens = std::vector<AddedToken>;

  static AddedTokens added_tokens(const Json& tokenizer, bool normalized);
  std::int32_t id(const std::string& token) const;
  // Appends the ids of added tokens to `out` and passes each text between them to `between`.
  template <class Between>
  static void split(std::u32string_view text, const AddedTokens& tokens, std::vector<std::int32_t>& out,
                    Between&& between);
  std::size_t word_length(std::u32string_view text) const;
  void words(std::u32string_view text, std::vector<std::int32_t>& out) const;
  void word(std::u32string_view word, std::vector<std::int32_t>& out) const;

  bool cleans_ = false;  // Whether text is cleaned as openai/CLIP and open_clip do it.
  Dialect dialect_ = Dialect::transformers;
  std::u32string start_text_, end_text_;        // The texts of the two special tokens.
  AddedTokens raw_tokens_, normalized_tokens_;  // Searched before and after normalisation, longest first.
  std::int32_t start_ = 0, end_ = 0;
  std::unordered_map<std::string, std::int32_t> vocabulary_;
  std::unordered_map<std::string, std::int32_t> ranks_;  // The key is "a b".
  std::array<std::string, 256> letters_;                 // The letter of each byte, in UTF-8.
};

}  // namespace torchclip::core
