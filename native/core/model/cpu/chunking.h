// Splits batches into chunks that fit the caches.
#pragma once

#include <algorithm>
#include <cstdint>

#include "linalg/matrix.h"
#include "model/config/tower_settings.h"

namespace torchclip::core {

// The number of tokens that go through the layers together. It is enough for full speed of the matrix multiplications
// and determines the size of the arena.
constexpr std::int64_t kChunkTokens = 2048;

// Calls work(pixels, out) for chunks of at most `most` images of size x size pixels, of nearly equal numbers.
template <typename Work>
void in_image_chunks(const std::uint8_t* pixels, std::int64_t size, const Matrix& out, std::int64_t most, Work&& work) {
  const std::int64_t chunks = (out.rows + most - 1) / most;
  for (std::int64_t i = 0; i < chunks; ++i) {
    const std::int64_t begin = i * out.rows / chunks, end = (i + 1) * out.rows / chunks;
    work(pixels + begin * size * size * 3, out.row_slice(begin, end - begin));
  }
}

// Calls work(pixels, out) for chunks of nearly equal numbers of images: the pixels of the chunk and its rows of `out`.
template <typename Work>
void in_chunks(const VitSettings& settings, const std::uint8_t* pixels, const Matrix& out, Work&& work) {
  const std::int64_t most = std::max<std::int64_t>(1, kChunkTokens / settings.length());
  in_image_chunks(pixels, settings.size, out, most, work);
}

// Calls work(begin, count) for chunks of texts, where `begin` is the index of the first text. A chunk ends with the
// text that fills it. tokens(i) returns the cost of text i.
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
