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
      tokens_(precision, need(weights, "text.embeddings.word")),
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

void RobertaTower::encode(const Context& context, Workspace& workspace, const std::int32_t* ids, std::int64_t rows,
                          std::int64_t length, float* out, Cancel cancel) const {
  if (pad_id_ + length >= positions_.rows()) {
    throw Error(TORCHCLIP_E_ARGUMENT,
                "texts of " + std::to_string(length) + " tokens are longer than the model's positions");
  }
  const auto& last = projections_[1] ? projections_[1] : projections_[0];
  const auto tokens = [&](std::int64_t r) {
    return length - std::count(ids + r * length, ids + (r + 1) * length, pad_id_);
  };
  in_token_chunks(rows, tokens, [&](std::int64_t begin, std::int64_t count) {
    encode_chunk(context, workspace, ids + begin * length, count, length, out + begin * last.columns(), cancel);
  });
}

void RobertaTower::encode_chunk(const Context& context, Workspace& w, const std::int32_t* ids, std::int64_t rows,
                                std::int64_t length, float* out, Cancel cancel) const {
  const std::int64_t width = settings_.width;
  PackedSequences sequences;
  sequences.starts.push_back(0);
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto* row = ids + r * length;
    sequences.starts.push_back(sequences.starts.back() + length - std::count(row, row + length, pad_id_));
  }
  w.x.grow(static_cast<std::size_t>(sequences.tokens() * width) * 4);
  float* x = w.x.as<float>();
  context.pool.parallel_for(rows, [&](std::int64_t r) {
    float* to = x + sequences.starts[r] * width;
    std::int64_t position = pad_id_;  // the first token's is the one after it
    for (std::int64_t i = 0; i < length; ++i) {
      const std::int32_t id = ids[r * length + i];
      if (id == pad_id_) continue;
      ++position;
      tokens_.read(context.kernels, id, to);
      for (std::int64_t d = 0; d < width; ++d) to[d] = to[d] + kind_.data[d] + positions_.data[position * width + d];
      to += width;
    }
  });
  normalize(context, norm_, x, sequences.tokens(), width);
  transformer_.run(context, w, sequences, nullptr, cancel);
  w.few.grow(static_cast<std::size_t>(rows * width) * 4);
  float* pooled = w.few.as<float>();
  context.pool.parallel_for(rows, [&](std::int64_t r) {
    const std::int64_t start = sequences.starts[r], count = first_ ? 1 : sequences.starts[r + 1] - start;
    float* to = pooled + r * width;
    // A row of nothing but padding has no mean, in the reference either.
    const bool none = sequences.starts[r + 1] == start;
    std::fill_n(to, width, none ? std::numeric_limits<float>::quiet_NaN() : 0.0f);
    for (std::int64_t i = 0; !none && i < count; ++i) {
      for (std::int64_t d = 0; d < width; ++d) to[d] += x[(start + i) * width + d];
    }
    for (std::int64_t d = 0; !none && d < width; ++d) to[d] /= static_cast<float>(count);
  });
  const Linear::Input in{pooled, width * 4};
  if (!projections_[1]) return projections_[0].multiply(context, in, rows, {out, projections_[0].columns()});
  const std::int64_t middle = projections_[0].columns();
  w.hidden.grow(static_cast<std::size_t>(rows * middle) * 4);
  projections_[0].multiply(context, in, rows, {w.hidden.as<void>(), middle, DType::f32, Activation::gelu});
  projections_[1].multiply(context, {w.hidden.as<void>(), middle * 4}, rows, {out, projections_[1].columns()});
}

}  // namespace torchclip::core
