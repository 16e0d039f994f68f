// Attention of one query per sequence.
#pragma once

#include <cstdint>
#include <vector>

#include "linalg/arena.h"
#include "linalg/packed.h"

namespace torchclip::core {

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
  // queries: [spans, width], already scaled (ignored with a fixed query); tokens: [.., inner]; out: f32 or bf16
  // [spans, width].
  void run(const Context& context, Arena& arena, const ConstMatrix& queries, const ConstMatrix& tokens,
           const std::vector<Span>& spans, const Matrix& out) const;

 private:
  // Applies the key matrices to queries: [rows, width] to [rows, heads * inner].
  void project_queries(const Context& context, const ConstMatrix& queries, const Matrix& projected) const;
  // Applies the value matrices to the attention results of all heads: [rows, heads * inner] to [rows, width].
  void project_values(const Context& context, const ConstMatrix& attended, const Matrix& out) const;

  DType type_ = DType::f32;
  std::int64_t width_ = 0, inner_ = 0, heads_ = 0;
  std::vector<Linear> keys_, values_;  // One per head.
  Buffer fixed_;                       // The projected query of every sequence, [heads, inner].
};

}  // namespace torchclip::core
