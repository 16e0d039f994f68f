#include "model/cpu/attention.h"

namespace torchclip::core {

void attend(const Context& context, Arena& arena, const PackedSequences& sequences, std::int64_t heads, bool causal,
            const ConstMatrix& qkv, const Matrix& out) {
  const std::int64_t width = out.columns;
  const ConstMatrix queries = qkv.column_slice(0, width);
  const ConstMatrix keys = qkv.column_slice(width, width);
  const ConstMatrix values = qkv.column_slice(2 * width, width);
  std::int64_t longest = 0;
  for (std::int64_t s = 0; s < sequences.count(); ++s) longest = std::max(longest, sequences.key_count(s));
  Attention common;
  common.type = qkv.type;
  common.width = width / heads;
  common.ldq = common.ldk = qkv.stride;
  common.out_type = out.type;
  common.ldo = out.stride;
  // `first_query`: the first token of the sequence whose query is computed.
  const auto place = [&](std::int64_t s, std::int64_t first_query, Attention& t) {
    const std::int64_t start = sequences.start(s);
    t.q = queries.row<char>(start + first_query);
    t.rows = sequences.rows(s);
    t.k = keys.row<char>(t.rows ? 0 : start);
    t.v = values.row<char>(t.rows ? 0 : start);
    t.out = out.row<char>(start + first_query);
  };
  attend_heads(context, arena, sequences.count(), heads, longest, common, [&](std::int64_t s, Attention& t) {
    const int unseen = sequences.excludes_itself(s) ? 1 : 0;
    t.queries = sequences.length(s) - unseen;
    t.keys = sequences.key_count(s) - unseen;
    t.causal = causal;
    place(s, 0, t);
  });
  if (sequences.excludes_self.empty()) return;
  // A last token that does not attend to itself attends to all others.
  attend_heads(context, arena, sequences.count(), heads, longest, common, [&](std::int64_t s, Attention& t) {
    t.keys = sequences.length(s) - 1;
    t.queries = sequences.excludes_itself(s) ? 1 : 0;
    place(s, t.keys, t);
  });
}

}  // namespace torchclip::core
