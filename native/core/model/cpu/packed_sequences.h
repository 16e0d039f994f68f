// Sequences of any lengths whose tokens are packed one after another.
#pragma once

#include <cstdint>
#include <vector>

#include "base/item.h"

namespace torchclip::core {

struct PackedSequences {
  std::vector<std::int64_t> starts;  // The first own token of each sequence; the last entry is the number of tokens.
  // Causal only. Empty, or the tokens that each sequence attends to, with its own last; those of sequence s start at
  // key_starts[s]. A prefix that several sequences share is computed once.
  std::vector<std::int32_t> keys;
  std::vector<std::int64_t> key_starts;
  std::vector<char> excludes_self;  // Causal only; empty, or 1 if a sequence's last token does not attend to itself.

  // Returns `count` sequences of `length` tokens each.
  static PackedSequences uniform(std::int64_t count, std::int64_t length) {
    PackedSequences sequences;
    for (std::int64_t s = 0; s <= count; ++s) sequences.starts.push_back(s * length);
    return sequences;
  }

  std::int64_t count() const { return static_cast<std::int64_t>(starts.size()) - 1; }
  std::int64_t tokens() const { return starts.back(); }
  std::int64_t start(std::int64_t s) const { return item(starts, s); }
  std::int64_t end(std::int64_t s) const { return item(starts, s + 1); }
  std::int64_t length(std::int64_t s) const { return end(s) - start(s); }
  bool excludes_itself(std::int64_t s) const { return !excludes_self.empty() && item(excludes_self, s); }
  const std::int32_t* rows(std::int64_t s) const { return keys.empty() ? nullptr : keys.data() + item(key_starts, s); }
  std::int64_t key_count(std::int64_t s) const {
    return keys.empty() ? length(s) : item(key_starts, s + 1) - item(key_starts, s);
  }
};

}  // namespace torchclip::core
