#include "model/cpu/text_tower.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "base/error.h"
#include "base/item.h"
#include "model/cpu/chunking.h"
#include "model/cpu/projection.h"

namespace torchclip::core {
namespace {

// The least cost of a text, so that a chunk does not take any number of equal texts.
constexpr std::int64_t kLeastTokens = 4;

// Returns the number of tokens, up to `limit`, that both rows begin with.
std::int64_t common_tokens(const std::int32_t* a, const std::int32_t* b, std::int64_t limit) {
  return std::mismatch(a, a + limit, b).first - a;
}

}  // namespace

ClipTextTower::ClipTextTower(const Context& context, Precision precision, const Weights& weights,
                             const TextSettings& settings, std::int64_t embed_dim)
    : settings_(settings),
      embed_dim_(embed_dim),
      tokens_(context, precision, need(weights, "text.token_embedding.weight")),
      positions_(copied(need(weights, "text.positional_embedding"))),
      norm_(weights, "text.ln_final", settings.eps),
      transformer_(context, precision, weights, "text.transformer.resblocks.", settings, settings.causal, true) {
  if (tokens_.inner() != settings.width || positions_.inner() != settings.width) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, "the text embeddings have another width than the model's settings say");
  }
  if (settings.appended_token) appended_ = copied(need(weights, "text.cls_emb", settings.width, 1));
  if (const auto matrix = weights("text.text_projection"); matrix.data) {
    projection_ = projection_of(context, matrix, weights("text.text_projection_bias").data);
  }
}

std::size_t ClipTextTower::bytes() const { return transformer_.bytes() + projection_.bytes() + tokens_.bytes(); }

// With an appended token, a token is attended to if the token before it is no padding (as open_clip trained CoCa), and
// the first one always is. Tokens that are never attended to need not be computed.
void ClipTextTower::needed(const std::int32_t* ids, std::int64_t length, std::vector<std::int32_t>& positions) const {
  positions.clear();
  const std::int64_t end =
      settings_.appended_token || !settings_.causal ? length : settings_.pooled_position(ids, length) + 1;
  for (std::int64_t i = 0; i < end; ++i) {
    if (!settings_.appended_token || i == 0 || ids[i - 1] != settings_.pad_id) {
      positions.push_back(static_cast<std::int32_t>(i));
    }
  }
  if (settings_.appended_token) positions.push_back(static_cast<std::int32_t>(length));
}

void ClipTextTower::encode(const Context& context, Arena& arena, const std::int32_t* ids, std::int64_t length,
                           const Matrix& out, Cancel cancel) const {
  const std::int64_t rows = out.rows;
  if (length + (settings_.appended_token ? 1 : 0) > positions_.rows()) {
    throw Error(TORCHCLIP_E_ARGUMENT,
                "texts of " + std::to_string(length) + " tokens are longer than the model's positions");
  }
  // Rows that begin alike are encoded one after another.
  std::vector<std::int32_t> order(static_cast<std::size_t>(rows));
  std::iota(order.begin(), order.end(), 0);
  if (shares_prefixes()) {
    std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      const std::int32_t *x = ids + a * length, *y = ids + b * length;
      return std::lexicographical_compare(x, x + length, y, y + length);
    });
  }
  std::vector<std::int32_t> positions;
  const auto tokens = [&](std::int64_t i) {
    const std::int32_t* row = ids + item(order, i) * length;
    needed(row, length, positions);
    auto count = static_cast<std::int64_t>(positions.size());
    if (shares_prefixes() && i > 0) count -= common_tokens(row, ids + item(order, i - 1) * length, count);
    return std::max(count, kLeastTokens);
  };
  in_token_chunks(rows, tokens, [&](std::int64_t begin, std::int64_t count) {
    encode_chunk(context, arena, ids, {order.begin() + begin, order.begin() + begin + count}, length, out, cancel);
  });
}

ClipTextTower::PackedTexts ClipTextTower::pack(const std::int32_t* ids, const std::vector<std::int32_t>& order,
                                               std::int64_t length) const {
  PackedTexts texts;
  auto& sequences = texts.sequences;
  auto& keys = sequences.keys;
  sequences.starts.push_back(0);
  if (shares_prefixes()) sequences.key_starts.push_back(0);
  std::vector<std::int32_t> positions;
  for (std::size_t r = 0; r < order.size(); ++r) {
    const std::int32_t* row = ids + order[r] * length;
    needed(row, length, positions);
    const auto count = static_cast<std::int64_t>(positions.size()), start = sequences.starts.back();
    std::int64_t shared = 0;
    if (shares_prefixes()) {
      if (r > 0) {
        // The keys of the row before are its tokens from the first one on.
        const std::int64_t before = sequences.key_starts[r] - sequences.key_starts[r - 1];
        shared = common_tokens(row, ids + order[r - 1] * length, std::min(before, count));
        for (std::int64_t i = 0; i < shared; ++i) keys.push_back(item(keys, sequences.key_starts[r - 1] + i));
      }
      for (std::int64_t i = shared; i < count; ++i) keys.push_back(static_cast<std::int32_t>(start + i - shared));
      sequences.key_starts.push_back(static_cast<std::int64_t>(keys.size()));
      texts.pooled.push_back(keys.back());
    } else {
      texts.pooled.push_back(settings_.appended_token ? start + count - 1
                                                      : start + settings_.pooled_position(row, length));
    }
    texts.rows.insert(texts.rows.end(), static_cast<std::size_t>(count - shared), order[r]);
    texts.positions.insert(texts.positions.end(), positions.begin() + shared, positions.end());
    sequences.starts.push_back(start + count - shared);
    // The appended token attends to itself only if the text fills the context.
    if (settings_.appended_token) sequences.excludes_self.push_back(row[length - 1] == settings_.pad_id);
  }
  return texts;
}

void ClipTextTower::embed(const Context& context, const std::int32_t* ids, std::int64_t length,
                          const PackedTexts& texts, const Matrix& x) const {
  const std::int64_t width = x.columns;
  context.pool.parallel_for(texts.sequences.count(), [&](std::int64_t s) {
    for (std::int64_t i = texts.sequences.start(s); i < texts.sequences.end(s); ++i) {
      const std::int32_t at = item(texts.positions, i);
      const float* position = positions_.data + at * width;
      float* to = x.row<float>(i);
      if (at == length) {
        std::copy_n(appended_.data, width, to);
      } else {
        tokens_.read(context.kernels, ids[item(texts.rows, i) * length + at], to);
      }
      for (std::int64_t d = 0; d < width; ++d) to[d] += position[d];
    }
  });
}

void ClipTextTower::encode_chunk(const Context& context, Arena& arena, const std::int32_t* ids,
                                 const std::vector<std::int32_t>& order, std::int64_t length, const Matrix& out,
                                 Cancel cancel) const {
  const Arena::Scope scope(arena);
  const PackedTexts texts = pack(ids, order, length);
  const auto rows = static_cast<std::int64_t>(order.size());
  const Matrix x = arena.dense(texts.sequences.tokens(), settings_.width);
  embed(context, ids, length, texts, x);
  const Matrix pooled = arena.dense(rows, settings_.width);
  transformer_.run_pooled(context, arena, texts.sequences, x, texts.pooled, pooled, cancel);
  const Matrix embeddings = arena.dense(rows, embed_dim_);
  project(context, &norm_, projection_, pooled, embeddings);
  for (std::int64_t r = 0; r < rows; ++r) {
    std::copy_n(embeddings.row<float>(r), embed_dim_, out.row<float>(item(order, r)));
  }
}

}  // namespace torchclip::core
