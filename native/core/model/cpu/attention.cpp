#include "model/cpu/attention.h"

#include <algorithm>

#include "base/error.h"

namespace torchclip::core {

PooledAttention::PooledAttention(const Context& context, Precision precision, const float* key, const float* value,
                                 const float* value_bias, std::int64_t width, std::int64_t inner, std::int64_t heads)
    : type_(attention_type(context, precision, inner)),
      width_(width),
      inner_(inner),
      heads_(heads),
      row_(spread(heads * inner * size_of(type_))) {
  if (heads < 1 || width % heads != 0) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT,
                std::to_string(heads) + " heads do not share a width of " + std::to_string(width));
  }
  const std::int64_t head = width / heads;
  const Precision stored = without_int8(precision);
  const Precision kept = input_type(context, stored) == type_ ? stored : Precision::fp32;
  std::vector<float> transposed(static_cast<std::size_t>(head * inner));
  for (std::int64_t h = 0; h < heads; ++h) {
    const float* from = key + h * head * inner;
    for (std::int64_t d = 0; d < head; ++d) {
      for (std::int64_t i = 0; i < inner; ++i) transposed[i * head + d] = from[d * inner + i];
    }
    keys_.emplace_back(context, kept, transposed.data(), nullptr, inner, head);
    values_.emplace_back(context, kept, value + h * head * inner, value_bias ? value_bias + h * head : nullptr, head,
                         inner);
  }
}

void PooledAttention::fix_query(const Context& context, const float* query) {
  Buffer row(static_cast<std::size_t>(row_bytes(type_, width_)));
  context.kernels.layer_norm(query, width_, 1, width_, nullptr, nullptr, 0, type_, row.as<void>(),
                             row_bytes(type_, width_), nullptr, nullptr);
  fixed_ = Buffer(static_cast<std::size_t>(row_));
  ask(context, {row.as<void>(), row_bytes(type_, width_)}, 1, fixed_.as<char>());
  keys_.clear();
}

std::size_t PooledAttention::bytes() const {
  std::size_t n = fixed_.bytes();
  for (const auto* part : {&keys_, &values_}) {
    for (const auto& linear : *part) n += linear.bytes();
  }
  return n;
}

void PooledAttention::ask(const Context& context, const Linear::Input& queries, std::int64_t rows, char* asked) const {
  const std::int64_t head = width_ / heads_, size = size_of(type_);
  context.pool.parallel_for(heads_, [&](std::int64_t h) {
    keys_[h].multiply_here({static_cast<const char*>(queries.data) + h * head * size, queries.stride}, rows,
                           {asked + h * inner_ * size, row_ / size, type_});
  });
}

void PooledAttention::run(const Context& context, Workspace& workspace, const Linear::Input& queries,
                          const Linear::Input& tokens, const std::vector<Span>& spans,
                          const Linear::Output& out) const {
  const auto count = static_cast<std::int64_t>(spans.size());
  const std::int64_t head = width_ / heads_, size = size_of(type_);
  workspace.asked.grow(static_cast<std::size_t>(2 * count * row_));
  char *asked = workspace.asked.as<char>(), *mixed = asked + count * row_;
  const bool fixed = fixed_.bytes() > 0;
  if (!fixed) ask(context, queries, count, asked);
  std::int64_t longest = 0;
  for (const auto& span : spans) longest = std::max(longest, span.end - span.begin);
  Attention common;
  common.type = common.out_type = type_;
  common.ldq = common.ldo = common.width = inner_;
  common.ldk = tokens.stride / size;
  attend_heads(context, workspace, count, 1, longest, common, [&](std::int64_t s, Attention& t) {
    t.queries = heads_;
    t.keys = spans[s].end - spans[s].begin;
    t.q = fixed ? fixed_.as<char>() : asked + s * row_;
    t.rows = spans[s].rows;
    t.k = t.v = static_cast<const char*>(tokens.data) + (t.rows ? 0 : spans[s].begin * tokens.stride);
    t.out = mixed + s * row_;
  });
  context.pool.parallel_for(heads_, [&](std::int64_t h) {
    Linear::Output part = out;
    part.data = static_cast<char*>(out.data) + h * head * size_of(out.type);
    values_[h].multiply_here({mixed + h * inner_ * size, row_}, count, part);
  });
}

}  // namespace torchclip::core
