// Attention over sequences of any lengths that are packed one after another: of all tokens, and of one query per
// sequence.
#pragma once

#include "model/cpu/workspace.h"

namespace torchclip::core {

// place(s, t) sets the addresses of head 0 of sequence s in `t`; types, strides and width come from `common`. If it
// leaves no queries, nothing is computed. The other heads lie beside head 0. `longest`: the largest number of keys of a
// sequence.
template <typename Place>
void attend_heads(const Context& context, Workspace& workspace, std::int64_t sequences, std::int64_t heads,
                  std::int64_t longest, const Attention& common, Place&& place) {
  // Each task has its own scratch memory. There are a few tasks per thread, and each computes several heads.
  const std::int64_t work = sequences * heads, floats = attention_scratch(longest, common.width);
  const std::int64_t tasks = std::min<std::int64_t>(work, context.pool.size() == 1 ? 1 : context.pool.size() * 4);
  workspace.scratch.grow(static_cast<std::size_t>(tasks * floats) * 4);
  const auto beside = [](const void* head, std::int64_t bytes) { return static_cast<const char*>(head) + bytes; };
  context.pool.parallel_for(tasks, [&](std::int64_t task) {
    for (std::int64_t i = task * work / tasks; i < (task + 1) * work / tasks; ++i) {
      Attention t = common;
      place(i / heads, t);
      if (t.queries < 1) continue;
      const std::int64_t column = i % heads * t.width, bytes = column * size_of(t.type);
      t.q = beside(t.q, bytes);
      t.k = beside(t.k, bytes);
      t.v = beside(t.v, bytes);
      t.out = static_cast<char*>(t.out) + column * size_of(t.out_type);
      t.scratch = workspace.scratch.as<float>() + task * floats;
      context.kernels.attention[static_cast<int>(t.type)](t);
    }
  });
}

// The element type of q, k and v beside matrix multiplications of a precision.
inline DType attention_type(const Context& context, Precision precision, std::int64_t head_width) {
  return head_width % 2 == 0 ? input_type(context, without_int8(precision)) : DType::f32;
}

// Attention of one query per sequence. The key and value matrices are applied to the query and to the attention result
// instead of to all tokens x:
//
//   q . (K x + a) = (K^T q) . x + a term that is equal for all x      sum_j p_j (V x_j + b) = V (sum_j p_j x_j) + b
//
// Two dot products for each head and token then replace two matrix multiplications over all tokens.
class PooledAttention {
 public:
  PooledAttention() = default;
  // key, value: [width, inner]; value_bias: [width] or null. The keys' bias has no effect on the result.
  PooledAttention(const Context& context, Precision precision, const float* key, const float* value,
                  const float* value_bias, std::int64_t width, std::int64_t inner, std::int64_t heads);
  // Uses one query, [width], for every sequence.
  void fix_query(const Context& context, const float* query);

  DType type() const noexcept { return type_; }  // The element type of the queries and tokens.
  std::int64_t width() const noexcept { return width_; }
  std::size_t bytes() const;

  struct Span {
    std::int64_t begin, end;             // The tokens of a sequence.
    const std::int32_t* rows = nullptr;  // If not null, the end - begin rows to use instead.
  };
  // queries: [spans, width], already scaled (ignored with a fixed query); tokens: [.., inner]; out: [spans, width].
  void run(const Context& context, Workspace& workspace, const Linear::Input& queries, const Linear::Input& tokens,
           const std::vector<Span>& spans, const Linear::Output& out) const;

 private:
  void ask(const Context& context, const Linear::Input& queries, std::int64_t rows, char* asked) const;

  DType type_ = DType::f32;
  std::int64_t width_ = 0, inner_ = 0, heads_ = 0, row_ = 0;  // row_: the size in bytes of [heads, inner].
  std::vector<Linear> keys_, values_;                         // One per head.
  Buffer fixed_;
};

}  // namespace torchclip::core
