// Attention over short sequences, such as the 50 tokens of ViT-B/32 and texts: the scores of a query with all keys stay
// in registers, so that nothing is rescaled and no tile is mostly padding.
#pragma once

#include "device.h"

namespace torchclip::cuda {

constexpr std::int64_t kShortKeys = 80;

// Whether short_attention computes this: fp16 or bf16, heads of 32, 64 or 128, at most kShortKeys keys and queries.
bool is_short(const Attention& attention);

// out: [query_tokens, heads, width] of the attention's dtype. A query without keys becomes 0. Throws
// std::invalid_argument unless is_short.
void short_attention(Stream stream, const Attention& attention, void* out);

}  // namespace torchclip::cuda
