// Batches in parts that fit the caches.
#pragma once

#include <algorithm>
#include <cstdint>

#include "model/config/tower_settings.h"

namespace torchclip::core {

// Tokens that go through the layers together: enough for the products' full speed, and what the workspace is sized by.
constexpr std::int64_t kChunkTokens = 2048;

// work(first image, images) over chunks of nearly the same size.
template <typename Work>
void in_chunks(const VitSettings& settings, std::int64_t rows, Work&& work) {
  const std::int64_t most = std::max<std::int64_t>(1, kChunkTokens / settings.length());
  const std::int64_t chunks = (rows + most - 1) / most;
  for (std::int64_t i = 0; i < chunks; ++i) {
    const std::int64_t begin = i * rows / chunks;
    work(begin, (i + 1) * rows / chunks - begin);
  }
}

// work(first text, texts) over chunks that end with the text that fills them; tokens(i): what text i costs.
template <typename Tokens, typename Work>
void in_token_chunks(std::int64_t rows, Tokens&& tokens, Work&& work) {
  for (std::int64_t begin = 0; begin < rows;) {
    std::int64_t end = begin;
    for (std::int64_t total = 0; end < rows && (end == begin || total < kChunkTokens); ++end) total += tokens(end);
    work(begin, end - begin);
    begin = end;
  }
}

}  // namespace torchclip::core
