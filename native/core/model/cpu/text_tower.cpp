#include "model/cpu/text_tower.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "base/error.h"
#include "model/cpu/chunking.h"
#include "model/cpu/projection.h"

namespace torchclip::core {
namespace {

// What a text costs at least, so that many equal ones are not one chunk.
constexpr std::int64_t kLeastTokens = 4;

// How many tokens two rows begin with that are the same, `most` at most.
std::int64_t common_tokens(const std::int32_t* a, const std::int32_t* b, std::int64_t most) {
  return std::mismatch(a, a + most, b).first - a;
}

}  // namespace

ClipTextTower::ClipTextTower(const Context& context, Precision precision, const Weights& weights,
                             const TextSettings& settings, std::int64_t embed_dim)
    : settings_(settings),
      embed_dim_(embed_dim),
      tokens_(precision, need(weights, "text.token_embedding.weight")),
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

// With an appended token, a token is seen where the one before it is no padding (as open_clip trained CoCa), and the
// first one always; what nobody sees need not be computed.
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

void ClipTextTower::encode(const Context& context, Workspace& workspace, const std::int32_t* ids, std::int64_t rows,
                           std::int64_t length, float* out, Cancel cancel) const {
  if (length + (settings_.appended_token ? 1 : 0) > positions_.rows()) {
    throw Error(TORCHCLIP_E_ARGUMENT,
                "texts of " + std::to_string(length) + " tokens are longer than the model's positions");
  }
  // Rows that begin alike next to each other.
  std::vector<std::int32_t> order(static_cast<std::size_t>(rows));
  std::iota(order.begin(), order.end(), 0);
  const bool shares = settings_.causal && !settings_.appended_token;
  if (shares) {
    std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      const std::int32_t *x = ids + a * length, *y = ids + b * length;
      return std::lexicographical_compare(x, x + length, y, y + length);
    });
  }
  std::vector<std::int32_t> positions;
  const auto tokens = [&](std::int64_t i) {
    const std::int32_t* row = ids + order[i] * length;
    needed(row, length, positions);
    const auto all = static_cast<std::int64_t>(positions.size());
    const auto own = shares && i > 0 ? all - common_tokens(row, ids + order[i - 1] * length, all) : all;
    return std::max(own, kLeastTokens);
  };
  in_token_chunks(rows, tokens, [&](std::int64_t begin, std::int64_t count) {
    encode_chunk(context, workspace, ids, {order.begin() + begin, order.begin() + begin + count}, length, out, cancel);
  });
}

void ClipTextTower::encode_chunk(const Context& context, Workspace& w, const std::int32_t* ids,
                                 const std::vector<std::int32_t>& order, std::int64_t length, float* out,
                                 Cancel cancel) const {
  const std::int64_t width = settings_.width, rows = static_cast<std::int64_t>(order.size());
  const bool shares = settings_.causal && !settings_.appended_token;
  PackedSequences sequences;
  sequences.starts.push_back(0);
  if (shares) sequences.key_starts.push_back(0);
  std::vector<std::int64_t> pooled;
  std::vector<std::int32_t> positions, all;  // all: where in its row each token stands
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int32_t* row = ids + order[r] * length;
    needed(row, length, positions);
    const auto count = static_cast<std::int64_t>(positions.size()), start = sequences.starts.back();
    std::int64_t shared = 0;
    if (shares) {
      auto& keys = sequences.keys;
      if (r > 0) {
        // Of the row before, whose keys were its tokens from the first one on.
        const std::int64_t before = sequences.key_starts[r] - sequences.key_starts[r - 1];
        shared = common_tokens(row, ids + order[r - 1] * length, std::min(before, count));
        for (std::int64_t i = 0; i < shared; ++i) keys.push_back(keys[sequences.key_starts[r - 1] + i]);
      }
      for (std::int64_t i = shared; i < count; ++i) keys.push_back(static_cast<std::int32_t>(start + i - shared));
      sequences.key_starts.push_back(static_cast<std::int64_t>(keys.size()));
      pooled.push_back(keys.back());
    } else {
      pooled.push_back(settings_.appended_token ? start + count - 1 : start + settings_.pooled_position(row, length));
    }
    all.insert(all.end(), positions.begin() + shared, positions.end());
    sequences.starts.push_back(start + count - shared);
    // The appended token sees itself where the text fills the context.
    if (settings_.appended_token) sequences.excludes_self.push_back(row[length - 1] == settings_.pad_id);
  }
  w.x.grow(static_cast<std::size_t>(sequences.tokens() * width) * 4);
  context.pool.parallel_for(rows, [&](std::int64_t r) {
    for (std::int64_t i = sequences.starts[r]; i < sequences.starts[r + 1]; ++i) {
      const std::int32_t at = all[i];
      const float* position = positions_.data + at * width;
      float* to = w.x.as<float>() + i * width;
      if (at == length) {
        std::copy_n(appended_.data, width, to);
      } else {
        tokens_.read(context.kernels, ids[order[r] * length + at], to);
      }
      for (std::int64_t d = 0; d < width; ++d) to[d] += position[d];
    }
  });
  transformer_.run(context, w, sequences, pooled.data(), cancel);
  w.hidden.grow(static_cast<std::size_t>(rows * embed_dim_) * 4);
  float* embeddings = w.hidden.as<float>();
  project(context, &norm_, projection_, w.few.as<float>(), rows, width, embeddings);
  for (std::int64_t r = 0; r < rows; ++r)
    std::copy_n(embeddings + r * embed_dim_, embed_dim_, out + order[r] * embed_dim_);
}

}  // namespace torchclip::core
