// Attention over sequences that are packed one after another.
#pragma once

#include <algorithm>

#include "linalg/arena.h"
#include "linalg/packed.h"
#include "model/cpu/packed_sequences.h"

namespace torchclip::core {

// place(s, t) sets the addresses of head 0 of sequence s in `t`; types, strides and width come from `common`. If it
// leaves no queries, nothing is computed. The other heads lie beside head 0. `longest`: the largest number of keys of a
// sequence.
template <typename Place>
void attend_heads(const Context& context, Arena& arena, std::int64_t sequences, std::int64_t heads,
                  std::int64_t longest, const Attention& common, Place&& place) {
  // Each task has its own scratch memory. There are a few tasks per thread, and each computes several heads.
  const std::int64_t work = sequences * heads, floats = attention_scratch(longest, common.width);
  const std::int64_t tasks = std::min<std::int64_t>(work, context.pool.size() == 1 ? 1 : context.pool.size() * 4);
  const Arena::Scope scope(arena);
  float* scratch = arena.array<float>(tasks * floats);
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
      t.scratch = scratch + task * floats;
      context.kernels.attention[static_cast<int>(t.type)](t);
    }
  });
}

// The element type of q, k and v beside matrix multiplications of a precision.
inline DType attention_type(const Context& context, Precision precision, std::int64_t head_width) {
  return head_width % 2 == 0 ? input_type(context, without_int8(precision)) : DType::f32;
}

// The tokens of each sequence attend to each other. qkv: f32 or bf16 [tokens, 3 width], the queries, keys and values
// side by side, with the queries already scaled; out: f32 or bf16 [tokens, width].
void attend(const Context& context, Arena& arena, const PackedSequences& sequences, std::int64_t heads, bool causal,
            const ConstMatrix& qkv, const Matrix& out);

}  // namespace torchclip::core
