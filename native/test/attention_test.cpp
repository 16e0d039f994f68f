// Attention of one head against a softmax in double.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"
#include "kernels/kernels.h"
#include "row_major.h"
#include "values.h"

using namespace torchclip::core;
using namespace torchclip::test;

namespace {

struct Shape {
  std::int64_t queries, keys, width;
  bool causal;
  // Rows are further apart than they are wide, as those of several heads side by side.
  std::int64_t distance() const { return width + 4; }
};

// As many queries as keys, causal or not, and fewer queries than keys (which all of them see).
std::vector<Shape> shapes() {
  std::vector<Shape> all = {{12, 50, 256, false}, {1, 33, 64, false}, {3, 77, 6, false}};
  for (const std::int64_t keys : {1, 17, 50, 257}) {
    for (const std::int64_t width : {8, 64, 80, 88}) {
      for (const bool causal : {false, true}) all.push_back({keys, keys, width, causal});
    }
  }
  return all;
}

// Numbers that are exact in `type`, as the kernel takes them and as float32.
struct Operand {
  Operand(DType type, std::int64_t rows, const Shape& shape, std::uint32_t seed)
      : numbers(values(static_cast<std::size_t>(rows * shape.distance()), seed)),
        row_bytes(shape.distance() * size_of(type)) {
    if (type == DType::bf16) {
      std::vector<std::uint16_t> rounded;
      for (const float number : numbers) rounded.push_back(to_bf16(number));
      kernels()->widen_bf16(rounded.data(), static_cast<std::int64_t>(rounded.size()), numbers.data());
      bytes.resize(rounded.size() * sizeof(std::uint16_t));
      std::memcpy(bytes.data(), rounded.data(), bytes.size());
    } else {
      bytes.resize(numbers.size() * sizeof(float));
      std::memcpy(bytes.data(), numbers.data(), bytes.size());
    }
  }

  // The bytes of the rows in the order of `rows`.
  std::vector<char> reordered(const std::vector<std::int32_t>& rows) const {
    std::vector<char> out;
    for (const std::int32_t row : rows) {
      const char* from = bytes.data() + row * row_bytes;
      out.insert(out.end(), from, from + row_bytes);
    }
    return out;
  }

  std::vector<float> numbers;
  std::int64_t row_bytes;
  std::vector<char> bytes;
};

struct Keys {
  const void *k, *v;
  const std::int32_t* rows = nullptr;
};

std::vector<float> attended(DType type, const Shape& shape, const Operand& q, const Keys& keys) {
  constexpr float kUntouched = 9.0f;
  const auto used = static_cast<std::size_t>(attention_scratch(shape.keys, shape.width));
  std::vector<float> out(static_cast<std::size_t>(shape.queries * shape.width), 7.0f);
  std::vector<float> scratch(used + 16, kUntouched);
  Attention t;
  t.type = type;
  t.q = q.bytes.data();
  t.k = keys.k;
  t.v = keys.v;
  t.rows = keys.rows;
  t.ldq = t.ldk = shape.distance();
  t.ldo = t.width = shape.width;
  t.queries = shape.queries;
  t.keys = shape.keys;
  t.causal = shape.causal;
  t.out = out.data();
  t.scratch = scratch.data();
  kernels()->attention[static_cast<int>(type)](t);
  CHECK(scratch[used] == kUntouched);
  return out;
}

double largest_error(const Shape& shape, const Operand& q, const Operand& k, const Operand& v,
                     const std::vector<float>& out) {
  const RowMajor queries(q.numbers.data(), shape.distance()), keys(k.numbers.data(), shape.distance());
  const RowMajor attended(v.numbers.data(), shape.distance()), results(out.data(), shape.width);
  std::vector<double> scratch(static_cast<std::size_t>(shape.keys));
  double* weights = scratch.data();
  double largest = 0;
  for (std::int64_t i = 0; i < shape.queries; ++i) {
    const std::int64_t seen = shape.causal ? i + 1 : shape.keys;
    double total = 0;
    for (std::int64_t j = 0; j < seen; ++j) {
      double score = 0;
      for (std::int64_t d = 0; d < shape.width; ++d) score += static_cast<double>(queries[i][d]) * keys[j][d];
      weights[j] = std::exp(score);
      total += weights[j];
    }
    for (std::int64_t d = 0; d < shape.width; ++d) {
      double sum = 0;
      for (std::int64_t j = 0; j < seen; ++j) sum += weights[j] / total * attended[j][d];
      largest = larger_error(largest, std::abs(sum - results[i][d]));
    }
  }
  return largest;
}

void check_shapes(DType type, double tolerance) {
  for (const Shape& shape : shapes()) {
    CAPTURE(kernels_name());
    CAPTURE(shape.queries);
    CAPTURE(shape.keys);
    CAPTURE(shape.width);
    CAPTURE(shape.causal);
    const Operand q(type, shape.queries, shape, 5), k(type, shape.keys, shape, 6), v(type, shape.keys, shape, 7);
    const auto out = attended(type, shape, q, {k.bytes.data(), v.bytes.data()});
    CHECK(largest_error(shape, q, k, v, out) < tolerance);

    // The same keys, their rows in another order and named: the same bits.
    std::vector<std::int32_t> backwards;
    for (std::int64_t row = shape.keys - 1; row >= 0; --row) backwards.push_back(static_cast<std::int32_t>(row));
    const auto other_k = k.reordered(backwards), other_v = v.reordered(backwards);
    const auto again = attended(type, shape, q, {other_k.data(), other_v.data(), backwards.data()});
    CHECK(first_difference(again, out) == "");
  }
}

}  // namespace

TEST_CASE("fp32 attention of every shape agrees with a softmax in double") { check_shapes(DType::f32, 5e-6); }

TEST_CASE("bf16 attention of every shape agrees with a softmax in double") {
  if (!kernels()->attention[static_cast<int>(DType::bf16)]) {
    return skip("the kernels " + kernels_name() + " have no bf16 attention");
  }
  check_shapes(DType::bf16, 8e-3);
}
