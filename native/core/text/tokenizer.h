// CLIP's byte-level BPE over an artifact's tokenizer.json, for services without JavaScript; lib/text/bpe.ts is the
// other one, and a test compares them.
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
  // tokenizer_json, torchclip_json: the artifact's files. Throws Error(E_ARGUMENT) where the model's tokenizer is not
  // CLIP's own (SentencePiece, WordPiece ...), or its text cleaning another.
  Tokenizer(const std::string& tokenizer_json, const std::string& torchclip_json);

  // The ids of a UTF-8 text, start and end included, not cut, not padded.
  std::vector<std::int32_t> encode(std::string_view text) const;

  std::int32_t end_id() const noexcept { return end_; }

 private:
  // Whose tokenizer it is: TokenizerConfig's `dialect` in lib/models/config.ts.
  enum class Dialect { openai, open_clip, transformers };
  // An entry of tokenizer.json's `added_tokens`, which the text is searched for before it is cut into words.
  struct AddedToken {
    std::u32string content;
    std::int32_t id = 0;
    bool single_word = false, left_strip = false, right_strip = false;
  };
  using AddedTokens = std::vector<AddedToken>;

  static AddedTokens added_tokens(const Json& tokenizer, bool normalized);
  std::int32_t id(const std::string& token) const;
  // Gives added tokens' ids to `out` and each text between them to `between`.
  template <class Between>
  static void split(std::u32string_view text, const AddedTokens& tokens, std::vector<std::int32_t>& out,
                    Between&& between);
  std::size_t word_length(std::u32string_view text) const;
  void words(std::u32string_view text, std::vector<std::int32_t>& out) const;
  void word(std::u32string_view word, std::vector<std::int32_t>& out) const;

  bool cleans_ = false;  // as openai/CLIP and open_clip do it
  Dialect dialect_ = Dialect::transformers;
  std::u32string start_text_, end_text_;        // what stands for the two special tokens in a text
  AddedTokens raw_tokens_, normalized_tokens_;  // found before and after the text is normalised; longest first
  std::int32_t start_ = 0, end_ = 0;
  std::unordered_map<std::string, std::int32_t> vocabulary_;
  std::unordered_map<std::string, std::int32_t> ranks_;  // by "a b"
  std::array<std::string, 256> letters_;                 // of the bytes, UTF-8
};

}  // namespace torchclip::core
