// The attention kernel of short sequences against softmax attention in double.
#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "bench.h"
#include "check.h"
#include "short_attention.h"

using namespace torchclip::cuda;
using torchclip::test::name_of;

namespace {

// Packed sequences of these lengths with their queries, keys and values, on the device and on the host.
class Case {
 public:
  Case(DType dtype, std::int64_t width, const std::vector<std::int32_t>& lengths)
      : lengths_(lengths), keys_(starts_of(lengths)), rows_(keys_.back()) {
    const std::int64_t stride = 3 * kHeads * width;
    // Queries of real models are scaled by 1 / sqrt(width).
    auto values = wide_values(std::max<std::int64_t>(rows_, 1) * stride, 21);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (static_cast<std::int64_t>(i) % stride < kHeads * width) values[i] /= 4;
    }
    qkv_ = HostArray(dtype, values);
    attention_.dtype = dtype;
    attention_.heads = kHeads;
    attention_.width = width;
    attention_.sequences = static_cast<std::int64_t>(lengths.size());
    attention_.q_stride = attention_.kv_stride = stride;
    attention_.key_tokens = rows_;
    attention_.max_keys = *std::max_element(lengths.begin(), lengths.end());
  }

  // The largest difference of the kernel's results; each sequence has all of its queries, or one.
  double difference(bool causal, bool one_query) {
    Attention a = attention_;
    std::vector<std::int32_t> queries = keys_;
    if (one_query) queries = starts_of(std::vector<std::int32_t>(lengths_.size(), 1));
    a.query_tokens = queries.back();
    a.max_queries = one_query ? 1 : a.max_keys;
    a.causal = causal;
    const std::int64_t element = size_of(a.dtype);
    const auto place = [&](char* qkv, std::int32_t* query_starts, std::int32_t* key_starts) {
      a.q = qkv;
      a.k = qkv + kHeads * a.width * element;
      a.v = qkv + 2 * kHeads * a.width * element;
      a.query_starts = query_starts;
      a.key_starts = key_starts;
    };
    HostArray expected(a.dtype, a.query_tokens * a.heads * a.width);
    place(qkv_.bytes.data(), queries.data(), keys_.data());
    attend_with_zeros(a, expected);
    auto* out = bench_.room(expected);
    place(bench_.put(qkv_.bytes), bench_.put(queries), bench_.put(keys_));
    short_attention(bench_.stream(), a, out);
    return bench_.difference(out, expected);
  }

  const Attention& attention() const { return attention_; }

 private:
  static constexpr std::int64_t kHeads = 2;

  static std::vector<std::int32_t> starts_of(const std::vector<std::int32_t>& lengths) {
    std::vector<std::int32_t> starts{0};
    for (const auto length : lengths) starts.push_back(starts.back() + length);
    return starts;
  }

  // The reference, with zeros for queries without keys.
  static void attend_with_zeros(const Attention& a, HostArray& out) {
    reference::attend(a, out.data());
    for (std::int64_t s = 0; s < a.sequences; ++s) {
      if (a.key_starts[s + 1] > a.key_starts[s]) continue;
      const std::int64_t row = a.heads * a.width;
      for (std::int64_t i = a.query_starts[s] * row; i < a.query_starts[s + 1] * row; ++i) {
        reference::set(out.data(), a.dtype, i, 0);
      }
    }
  }

  Bench bench_;
  std::vector<std::int32_t> lengths_, keys_;
  std::int64_t rows_;
  HostArray qkv_{DType::f16, 0};
  Attention attention_;
};

// Twice the distance of neighbouring numbers of the format at 1 in magnitude, for the weights' and the results'
// rounding.
double tolerance(DType dtype) { return dtype == DType::f16 ? 0.004 : 0.032; }

const std::vector<std::int32_t> kLengths{1, 50, 16, 0, 33, 64};

}  // namespace

TEST_CASE("short attention: sequences of every length, causal or not, for every width of heads") {
  for (const auto dtype : {DType::f16, DType::bf16}) {
    for (const std::int64_t width : {32, 64, 128}) {
      for (const bool causal : {false, true}) {
        CAPTURE(name_of(dtype));
        CAPTURE(width);
        CAPTURE(causal);
        Case sequences(dtype, width, kLengths);
        CHECK(sequences.difference(causal, false) <= tolerance(dtype));
      }
    }
  }
}

TEST_CASE("short attention: up to 80 keys") {
  for (const bool causal : {false, true}) {
    Case sequences(DType::bf16, 64, {77, 65, 80});
    CHECK(sequences.difference(causal, false) <= tolerance(DType::bf16));
  }
}

TEST_CASE("short attention: one query of each sequence, zeros where it has no keys") {
  Case sequences(DType::f16, 64, kLengths);
  CHECK(sequences.difference(false, true) <= tolerance(DType::f16));
}

TEST_CASE("short attention: float32, other heads and long sequences are refused") {
  Case sequences(DType::f16, 64, kLengths);
  Attention a = sequences.attention();
  CHECK(is_short(a));
  a.max_keys = kShortKeys + 1;
  CHECK(!is_short(a));
  CHECK_THROWS_AS(short_attention(nullptr, a, nullptr), std::invalid_argument);
  a = sequences.attention();
  a.dtype = DType::f32;
  CHECK(!is_short(a));
  a = sequences.attention();
  a.width = 80;
  CHECK(!is_short(a));
}
