// Text encoders that are Transformers, on a device.
#pragma once

#include <algorithm>
#include <vector>

#include "passes.h"
#include "transformer.h"

namespace torchclip::cuda {

using core::TextSettings;

// A batch of texts as a pass takes it: int32 [ids, places, starts, pooled, ones].
struct PackedTexts {
  std::int64_t rows = 0, tokens = 0;  // what the pass computes, padding included
  std::vector<std::int32_t> data;
};

class TextTower {
 public:
  TextTower(Device& device, Workspace& workspace, WeightLoader& loader, const TextSettings& settings,
            std::int64_t context)
      : device_(device),
        w_(workspace),
        settings_(settings),
        dtype_(loader.dtype()),
        context_(context),
        vocabulary_(need(loader.weights(), "text.token_embedding.weight").rows()),
        blocks_(loader, "text.transformer", settings, settings.causal) {
    const auto tokens = need(loader.weights(), "text.token_embedding.weight");
    const auto positions = need(loader.weights(), "text.positional_embedding");
    tokens_ = loader.numbers(tokens.data, tokens.rows() * tokens.inner());
    positions_ = loader.floats(positions.data, positions.rows() * positions.inner());
    norm_ = loader.norm("text.ln_final", settings.width, settings.eps);
    projection_ = loader.projection("text.text_projection", "text.text_projection_bias");
  }

  // An id that makes its place the pooled one, in a row of ones.
  std::int32_t end_id() const { return settings_.pool == TextSettings::Pool::eos ? settings_.end_id : 2; }

  std::int64_t vocabulary() const { return vocabulary_; }
  // The id that ends a text: for most models the last of the vocabulary.
  std::int32_t last_id() const {
    return settings_.pool == TextSettings::Pool::eos ? settings_.end_id : static_cast<std::int32_t>(vocabulary_ - 1);
  }
  std::int64_t context() const { return context_; }

  // The rows that fit into one pass: at least one. Unless `pads`, a small pass has no sizes of a captured one.
  PackedTexts pack(const std::int32_t* ids, std::int64_t rows, std::int64_t length, std::int64_t most_rows,
                   std::int64_t& taken, bool pads = true) const {
    std::vector<std::int64_t> pooled, lengths;
    const std::int64_t most_tokens = pass_tokens(device_);
    std::int64_t tokens = 0;
    for (taken = 0; taken < std::min(rows, most_rows); ++taken) {
      const std::int64_t last = settings_.pooled_position(ids + taken * length, length);
      const std::int64_t needed = settings_.causal ? last + 1 : length;
      if (taken > 0 && tokens + needed > most_tokens) break;
      pooled.push_back(last);
      lengths.push_back(needed);
      tokens += needed;
    }
    PackedTexts p;
    const bool captured = pads && taken <= kCapturedRows;
    p.rows = captured ? row_bucket(taken) : taken;
    p.tokens = captured ? token_bucket(tokens) : tokens;
    p.data.assign(static_cast<std::size_t>(2 * p.tokens + 3 * p.rows + 2), 0);
    auto *id = p.data.data(), *place = id + p.tokens, *starts = place + p.tokens, *last = starts + p.rows + 1;
    auto* ones = last + p.rows;
    std::int32_t at = 0;
    for (std::int64_t r = 0; r < p.rows; ++r) {
      starts[r] = at;
      ones[r + 1] = static_cast<std::int32_t>(r + 1);
      if (r >= taken) continue;  // an empty sequence
      const auto text = static_cast<std::size_t>(r);
      last[r] = at + static_cast<std::int32_t>(pooled[text]);
      for (std::int64_t i = 0; i < lengths[text]; ++i, ++at) {
        id[at] = ids[r * length + i];
        place[at] = static_cast<std::int32_t>(i);
      }
    }
    starts[p.rows] = at;
    return p;
  }

  void pass(const std::int32_t* data, std::int64_t rows, std::int64_t tokens, float* out) {
    const std::int64_t width = settings_.width;
    auto* x = w_.grow<float>(Workspace::kStream, tokens * width * 4);
    embed_tokens(device_.stream(), data, data + tokens, tokens, tokens_.get(), dtype_,
                 static_cast<float*>(positions_.get()), width, x);
    PackedSequences packed{rows, tokens, context_, false, data + 2 * tokens, nullptr, nullptr};
    packed.pooled = packed.starts + rows + 1;
    packed.ones = packed.pooled + rows;
    blocks_.run(device_, w_, packed, x);
    project(device_, w_, &norm_, projection_, w_.grow<float>(Workspace::kPooled, rows * width * 4), rows, width, out);
  }

 private:
  Device& device_;
  Workspace& w_;
  TextSettings settings_;
  DType dtype_;
  std::int64_t context_, vocabulary_;
  Transformer blocks_;
  Memory tokens_, positions_;
  LayerNorm norm_;
  Linear projection_;
};

}  // namespace torchclip::cuda
