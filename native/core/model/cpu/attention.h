// Attention over sequences of any lengths packed one after another: of all tokens, and of one query each.
#pragma once

#include "model/cpu/workspace.h"

namespace torchclip::core {

// place(s, t): where head 0 of sequence s lies in `t`, whose types, strides and width are those of `common` (no
// queries: nothing is done). The other heads lie beside it. `longest`: keys of a sequence, at most.
template <typename Place>
void attend_heads(const Context& context, Workspace& workspace, std::int64_t sequences, std::int64_t heads,
                  std::int64_t longest, const Attention& common, Place&& place) {
  // Each task its own scratch memory: a few tasks for each thread, each taking several heads.
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

// What q, k and v are kept as beside products of a precision.
inline DType attention_type(const Context& context, Precision precision, std::int64_t head_width) {
  return head_width % 2 == 0 ? input_type(context, without_int8(precision)) : DType::f32;
}

// Attention of one query a sequence, with the matrices applied to the query and to the mixed token instead of to all
// tokens x:
//
//   q . (K x + a) = (K^T q) . x + the same for all x          sum_j p_j (V x_j + b) = V (sum_j p_j x_j) + b
//
// which leaves two dot products for each head and token of what was a product with two matrices.
class PooledAttention {
 public:
  PooledAttention() = default;
  // key, value: [width, inner]; value_bias: [width] or null. The keys' bias changes nothing.
  PooledAttention(const Context& context, Precision precision, const float* key, const float* value,
                  const float* value_bias, std::int64_t width, std::int64_t inner, std::int64_t heads);
  // The same query, [width], for every sequence.
  void fix_query(const Context& context, const float* query);

  DType type() const noexcept { return type_; }  // of the queries and tokens that it takes
  std::int64_t width() const noexcept { return width_; }
  std::size_t bytes() const;

  struct Span {
    std::int64_t begin, end;             // tokens of a sequence
    const std::int32_t* rows = nullptr;  // or these, end - begin of them
  };
  // queries: [spans, width], already scaled (nothing with a fixed query); tokens: [.., inner]; out: [spans, width].
  void run(const Context& context, Workspace& workspace, const Linear::Input& queries, const Linear::Input& tokens,
           const std::vector<Span>& spans, const Linear::Output& out) const;

 private:
  void ask(const Context& context, const Linear::Input& queries, std::int64_t rows, char* asked) const;

  DType type_ = DType::f32;
  std::int64_t width_ = 0, inner_ = 0, heads_ = 0, row_ = 0;  // row_: bytes of [heads, inner]
  std::vector<Linear> keys_, values_;                         // of each head
  Buffer fixed_;
};

}  // namespace torchclip::core
