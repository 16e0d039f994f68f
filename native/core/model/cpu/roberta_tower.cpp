#include "model/cpu/roberta_tower.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/error.h"
#include "model/cpu/chunking.h"

namespace torchclip::core {
namespace {

BlockSettings settings_of(const Json& config) {
  BlockSettings s(config, Activation::gelu, 1e-5f);
  s.post_norm = true;
  return s;
}

}  // namespace

RobertaTower::RobertaTower(const Context& context, Precision precision, const Weights& weights, const Json& config)
    : settings_(settings_of(config)),
      pad_id_(static_cast<std::int32_t>(config["padId"].number(1))),
      first_(config["pool"].text() == "cls"),
      tokens_(context, precision, need(weights, "text.embeddings.word")),
      positions_(copied(need(weights, "text.embeddings.position"))),
      kind_(copied(need(weights, "text.embeddings.token_type"))),
      norm_(weights, "text.embeddings.norm", settings_.eps),
      transformer_(context, precision, weights, "text.layers.", settings_, false, false) {
  if (tokens_.inner() != settings_.width || positions_.inner() != settings_.width || kind_.inner() != settings_.width ||
      pad_id_ < 0) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, "the text embeddings have another width than the model's settings say");
  }
  for (int i = 0; i < 2; ++i) {
    const auto w = weights("text.proj." + std::to_string(2 * i));
    if (w.data) projections_[i] = Linear(context, Precision::fp32, w.data, nullptr, w.rows(), w.inner());
  }
}

std::size_t RobertaTower::bytes() const {
  return transformer_.bytes() + projections_[0].bytes() + projections_[1].bytes() + tokens_.bytes();
}

void RobertaTower::encode(const Context& context, Arena& arena, const std::int32_t* ids, std::int64_t length,
                          const Matrix& out, Cancel cancel) const {
  if (pad_id_ + length >= positions_.rows()) {
    throw Error(TORCHCLIP_E_ARGUMENT,
                "texts of " + std::to_string(length) + " tokens are longer than the model's positions");
  }
  const auto tokens = [&](std::int64_t r) {
    return length - std::count(ids + r * length, ids + (r + 1) * length, pad_id_);
  };
  in_token_chunks(out.rows, tokens, [&](std::int64_t begin, std::int64_t count) {
    encode_chunk(context, arena, ids + begin * length, length, out.row_slice(begin, count), cancel);
  });
}

void RobertaTower::encode_chunk(const Context& context, Arena& arena, const std::int32_t* ids, std::int64_t length,
                                const Matrix& out, Cancel cancel) const {
  const Arena::Scope scope(arena);
  PackedSequences sequences;
  sequences.starts.push_back(0);
  for (std::int64_t r = 0; r < out.rows; ++r) {
    const auto* row = ids + r * length;
    sequences.starts.push_back(sequences.starts.back() + length - std::count(row, row + length, pad_id_));
  }
  const Matrix x = arena.dense(sequences.tokens(), settings_.width);
  embed(context, ids, length, sequences, x);
  norm_.normalize(context, x, x);
  transformer_.run(context, arena, sequences, x, cancel);
  const Matrix pooled = arena.dense(out.rows, settings_.width);
  pool(context, sequences, x, pooled);
  if (!projections_[1]) return projections_[0].multiply(context, pooled, out);
  const Matrix hidden = arena.dense(out.rows, projections_[0].columns());
  projections_[0].multiply(context, pooled, hidden, {.activation = Activation::gelu});
  projections_[1].multiply(context, hidden, out);
}

void RobertaTower::embed(const Context& context, const std::int32_t* ids, std::int64_t length,
                         const PackedSequences& sequences, const Matrix& x) const {
  const std::int64_t width = x.columns;
  context.pool.parallel_for(sequences.count(), [&](std::int64_t s) {
    std::int64_t token = sequences.start(s);
    std::int64_t position = pad_id_;  // The position of the first token is the next one.
    for (std::int64_t i = 0; i < length; ++i) {
      const std::int32_t id = ids[s * length + i];
      if (id == pad_id_) continue;
      ++position;
      float* to = x.row<float>(token++);
      tokens_.read(context.kernels, id, to);
      for (std::int64_t d = 0; d < width; ++d) to[d] = to[d] + kind_.data[d] + positions_.data[position * width + d];
    }
  });
}

void RobertaTower::pool(const Context& context, const PackedSequences& sequences, const ConstMatrix& x,
                        const Matrix& pooled) const {
  const std::int64_t width = x.columns;
  context.pool.parallel_for(sequences.count(), [&](std::int64_t s) {
    float* to = pooled.row<float>(s);
    if (sequences.length(s) == 0) {  // A row of nothing but padding has no mean, in the reference either.
      std::fill_n(to, width, std::numeric_limits<float>::quiet_NaN());
      return;
    }
    const std::int64_t start = sequences.start(s), count = first_ ? 1 : sequences.length(s);
    std::fill_n(to, width, 0.0f);
    for (std::int64_t i = 0; i < count; ++i) {
      const float* from = x.row<float>(start + i);
      for (std::int64_t d = 0; d < width; ++d) to[d] += from[d];
    }
    for (std::int64_t d = 0; d < width; ++d) to[d] /= static_cast<float>(count);
  });
}

}  // namespace torchclip::core
