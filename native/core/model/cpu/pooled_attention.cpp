#include "model/cpu/pooled_attention.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/item.h"
#include "model/cpu/attention.h"

namespace torchclip::core {

PooledAttention::PooledAttention(const Context& context, Precision precision, const float* key, const float* value,
                                 const float* value_bias, std::int64_t width, std::int64_t inner, std::int64_t heads)
    : type_(attention_type(context, precision, inner)), width_(width), inner_(inner), heads_(heads) {
  if (heads < 1 || width % heads != 0) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT,
                std::to_string(heads) + " heads do not share a width of " + std::to_string(width));
  }
  const std::int64_t head = width / heads;
  const Precision without = without_int8(precision);
  const Precision stored = input_type(context, without) == type_ ? without : Precision::fp32;
  std::vector<float> transposed(static_cast<std::size_t>(head * inner));
  for (std::int64_t h = 0; h < heads; ++h) {
    const float* from = key + h * head * inner;
    for (std::int64_t d = 0; d < head; ++d) {
      for (std::int64_t i = 0; i < inner; ++i) item(transposed, i * head + d) = from[d * inner + i];
    }
    keys_.emplace_back(context, stored, transposed.data(), nullptr, inner, head);
    values_.emplace_back(context, stored, value + h * head * inner, value_bias ? value_bias + h * head : nullptr, head,
                         inner);
  }
}

void PooledAttention::fix_query(const Context& context, const float* query) {
  Buffer row(static_cast<std::size_t>(row_bytes(type_, width_)));
  context.kernels.layer_norm(query, width_, 1, width_, nullptr, nullptr, 0, type_, row.as<void>(),
                             row_bytes(type_, width_), nullptr, nullptr);
  fixed_ = Buffer(static_cast<std::size_t>(row_stride(type_, heads_ * inner_)));
  project_queries(context, ConstMatrix::dense(row.as<void>(), 1, width_, type_),
                  Matrix::dense(fixed_.as<void>(), 1, heads_ * inner_, type_));
  keys_.clear();
}

std::size_t PooledAttention::bytes() const {
  std::size_t n = fixed_.bytes();
  for (const auto* linears : {&keys_, &values_}) {
    for (const auto& linear : *linears) n += linear.bytes();
  }
  return n;
}

void PooledAttention::project_queries(const Context& context, const ConstMatrix& queries,
                                      const Matrix& projected) const {
  const std::int64_t head = width_ / heads_;
  context.pool.parallel_for(heads_, [&](std::int64_t h) {
    item(keys_, h).multiply_here(queries.column_slice(h * head, head), projected.column_slice(h * inner_, inner_));
  });
}

void PooledAttention::project_values(const Context& context, const ConstMatrix& attended, const Matrix& out) const {
  const std::int64_t head = width_ / heads_;
  context.pool.parallel_for(heads_, [&](std::int64_t h) {
    item(values_, h).multiply_here(attended.column_slice(h * inner_, inner_), out.column_slice(h * head, head));
  });
}

void PooledAttention::run(const Context& context, Arena& arena, const ConstMatrix& queries, const ConstMatrix& tokens,
                          const std::vector<Span>& spans, const Matrix& out) const {
  const Arena::Scope scope(arena);
  const auto count = static_cast<std::int64_t>(spans.size());
  const bool fixed = fixed_.bytes() > 0;
  ConstMatrix projected = ConstMatrix::dense(fixed_.as<void>(), 1, heads_ * inner_, type_);
  if (!fixed) {
    const Matrix from_queries = arena.matrix(count, heads_ * inner_, type_);
    project_queries(context, queries, from_queries);
    projected = from_queries;
  }
  const Matrix attended = arena.matrix(count, heads_ * inner_, type_);
  std::int64_t longest = 0;
  for (const auto& span : spans) longest = std::max(longest, span.end - span.begin);
  // The heads are the queries of one attention over the tokens.
  Attention common;
  common.type = common.out_type = type_;
  common.ldq = common.ldo = common.width = inner_;
  common.ldk = tokens.stride;
  common.queries = heads_;
  attend_heads(context, arena, count, 1, longest, common, [&](std::int64_t s, Attention& t) {
    const Span& span = item(spans, s);
    t.keys = span.end - span.begin;
    t.q = projected.row<char>(fixed ? 0 : s);
    t.rows = span.rows;
    t.k = t.v = tokens.row<char>(t.rows ? 0 : span.begin);
    t.out = attended.row<char>(s);
  });
  project_values(context, attended, out);
}

}  // namespace torchclip::core
