// CLIP's byte-level BPE over an artifact's tokenizer.json, for services without JavaScript; lib/text/bpe.ts is the
// other one, and a test compares them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/json.h"

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
  std::int32_t id(const std::string& token) const;
  void word(std::u32string_view word, std::vector<std::int32_t>& out) const;

  bool openai_ = false;
  std::int32_t start_ = 0, end_ = 0;
  std::unordered_map<std::string, std::int32_t> vocabulary_;
  std::unordered_map<std::string, std::int32_t> ranks_;  // by "a b"
  std::array<std::string, 256> letters_;                 // of the bytes, UTF-8
};

}  // namespace torchclip::core
