// The kernels of this machine against plain loops: products of every type at odd sizes, attention, layer norm, search.
#include "kernels/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "check.h"
#include "linalg/packed.h"
#include "model/cpu/winograd.h"
#include "search/index.h"
#include "search/int8_queries.h"

using namespace torchclip::core;
using torchclip::test::values;

namespace {

// A weight as it is stored in 16 bits, by definition: the nearest of the numbers that have so few bits.
double stored(Precision precision, float x) {
  if (precision != Precision::bf16 && precision != Precision::fp16) return x;
  const int significant = precision == Precision::bf16 ? 8 : 11, least = precision == Precision::bf16 ? -133 : -24;
  int exponent;
  std::frexp(x, &exponent);
  const double unit = std::ldexp(1.0, std::max(exponent - significant, least));
  return std::nearbyint(x / unit) * unit;
}

void products(const Context& context, Precision precision, double tolerance) {
  const DType type = input_type(context, precision);
  const bool exact = type == DType::f32;  // but for the weights' rounding, which the sums below have as well
  for (const std::int64_t rows : {1, 13, 29}) {
    for (const std::int64_t columns : {1, 31, 70}) {
      for (const std::int64_t inner : {3, 64, 2501}) {
        const auto a = values(rows * inner, 1), w = values(columns * inner, 2), bias = values(columns, 3);
        const Linear linear(context, precision, w.data(), bias.data(), columns, inner);
        std::vector<char> input(rows * row_bytes(type, inner));
        std::vector<float> scales(rows), out(rows * columns), residual = values(rows * columns, 4);
        std::vector<std::int32_t> sums(rows);
        context.kernels.layer_norm(a.data(), inner, rows, inner, nullptr, nullptr, 0, type, input.data(),
                                   row_bytes(type, inner), scales.data(), sums.data());
        const std::int64_t stride = row_bytes(type, inner) / size_of(type);
        linear.multiply(context, {input.data(), rows, inner, stride, type, scales.data(), sums.data()},
                        Matrix::dense(out.data(), rows, columns),
                        {.residual = ConstMatrix::dense(residual.data(), rows, columns)});
        double most = 0;
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t c = 0; c < columns; ++c) {
            double sum = bias[c] + residual[r * columns + c];
            for (std::int64_t k = 0; k < inner; ++k)
              sum += a[r * inner + k] * (exact ? stored(precision, w[c * inner + k]) : w[c * inner + k]);
            most = std::max(most, std::abs(sum - out[r * columns + c]));
          }
        }
        CHECK(most <= tolerance * std::sqrt(static_cast<double>(inner)));
      }
    }
  }
}

// Few queries by rows of int8: the bits of the same as a product, zeros beside them.
void int8_dots(const Context& context) {
  for (const std::int64_t dim : {1, 30, 64, 129, 512}) {
    constexpr std::int64_t kRows = 37;
    const std::int64_t stride = row_bytes(DType::s8, dim);
    const auto base = values(kRows * dim, 11);
    std::vector<char> rows(kRows * stride);
    std::vector<float> scales(kRows), expected(kRows * kPanel), out(kRows * kPanel, 9.0f);
    std::vector<std::int32_t> sums(kRows);
    context.kernels.layer_norm(base.data(), dim, kRows, dim, nullptr, nullptr, 0, DType::s8, rows.data(), stride,
                               scales.data(), sums.data());
    for (const std::int64_t count : {1, 3, 8}) {
      const auto queries = values(count * dim, 12);
      const Linear packed(context, Precision::int8, queries.data(), nullptr, count, dim);
      packed.multiply_panel({rows.data(), kRows, dim, stride, DType::s8, scales.data(), sums.data()},
                            Matrix::dense(expected.data(), kRows, kPanel), 0);
      Int8Queries(context, queries.data(), count, dim)
          .scores(context.kernels, rows.data(), stride, scales.data(), sums.data(), kRows, 0, out.data());
      CHECK(out == expected);
    }
  }
}

// Winograd's convolutions against sums over the taps: odd and even sides, channels that fill no register, weights that
// stay in the cache and such that do not.
void convolutions(const Context& context) {
  struct Case {
    std::int64_t images, side, channels, columns;
  };
  for (const Case& c : {Case{1, 1, 3, 5}, Case{2, 7, 8, 16}, Case{3, 6, 40, 33}, Case{1, 5, 96, 224}}) {
    const auto in = values(c.images * c.side * c.side * c.channels, 8), w = values(c.columns * 9 * c.channels, 9);
    const auto bias = values(c.columns, 10);
    std::vector<float> out(c.images * c.side * c.side * c.columns, -1.0f);
    Arena arena;
    const std::int64_t pixels = c.images * c.side * c.side;
    WinogradConvolution(context, Precision::fp32, w.data(), bias.data(), c.columns, c.channels)
        .run(context, arena, ConstMatrix::dense(in.data(), pixels, c.channels), c.side,
             Matrix::dense(out.data(), pixels, c.columns));
    double most = 0;
    for (std::int64_t pixel = 0; pixel < c.images * c.side * c.side; ++pixel) {
      const std::int64_t x = pixel % c.side, y = pixel / c.side % c.side, image = pixel / (c.side * c.side);
      for (std::int64_t n = 0; n < c.columns; ++n) {
        double sum = bias[n];
        for (std::int64_t t = 0; t < 9; ++t) {
          const std::int64_t py = y + t / 3 - 1, px = x + t % 3 - 1;
          if (py < 0 || py >= c.side || px < 0 || px >= c.side) continue;
          for (std::int64_t k = 0; k < c.channels; ++k) {
            sum += static_cast<double>(in[((image * c.side + py) * c.side + px) * c.channels + k]) *
                   w[(n * 9 + t) * c.channels + k];
          }
        }
        most = std::max(most, std::abs(std::max(sum, 0.0) - out[pixel * c.columns + n]));
      }
    }
    CHECK(most <= 2e-6 * std::sqrt(9.0 * static_cast<double>(c.channels)));
  }
}

// As many queries as keys, causal or not, and fewer queries than keys (which all of them see), of one or several heads
// side by side in rows that are further apart than they are wide.
void attentions(const Kernels& kernels, DType type, double tolerance) {
  struct Case {
    std::int64_t queries, keys, width;
    bool causal;
  };
  std::vector<Case> cases = {{12, 50, 256, false}, {1, 33, 64, false}, {3, 77, 6, false}};
  for (const std::int64_t keys : {1, 17, 50, 257}) {
    for (const std::int64_t width : {8, 64, 80, 88}) {
      for (const bool causal : {false, true}) cases.push_back({keys, keys, width, causal});
    }
  }
  for (const auto& [queries, keys, width, causal] : cases) {
    const std::int64_t distance = width + 4;
    auto q = values(queries * distance, 5), k = values(keys * distance, 6), v = values(keys * distance, 7);
    std::vector<std::uint16_t> bf16[3];
    const void* data[3] = {q.data(), k.data(), v.data()};
    if (type == DType::bf16) {
      std::vector<float>* of[3] = {&q, &k, &v};
      for (int i = 0; i < 3; ++i) {
        for (float& x : *of[i]) {
          bf16[i].push_back(to_bf16(x));
          const std::uint32_t bits = static_cast<std::uint32_t>(bf16[i].back()) << 16;
          std::memcpy(&x, &bits, 4);
        }
        data[i] = bf16[i].data();
      }
    }
    std::vector<float> out(queries * width, 7.0f), scratch(attention_scratch(keys, width) + 16, 9.0f);
    Attention t;
    t.type = type;
    t.q = data[0];
    t.k = data[1];
    t.v = data[2];
    t.ldq = t.ldk = distance;
    t.ldo = t.width = width;
    t.queries = queries;
    t.keys = keys;
    t.causal = causal;
    t.out = out.data();
    t.scratch = scratch.data();
    kernels.attention[static_cast<int>(type)](t);
    CHECK(scratch[attention_scratch(keys, width)] == 9.0f);
    // The same keys, their rows in another order and named: the same bits.
    std::vector<std::int32_t> rows(keys);
    std::vector<char> transposed[2];
    const std::int64_t bytes = distance * size_of(type);
    for (std::int64_t i = 0; i < keys; ++i) rows[i] = static_cast<std::int32_t>(keys - 1 - i);
    for (int i = 0; i < 2; ++i) {
      const char* from = static_cast<const char*>(data[i + 1]);
      for (std::int64_t r = 0; r < keys; ++r)
        transposed[i].insert(transposed[i].end(), from + rows[r] * bytes, from + (rows[r] + 1) * bytes);
    }
    std::vector<float> again(out.size(), 7.0f);
    t.rows = rows.data();
    t.k = transposed[0].data();
    t.v = transposed[1].data();
    t.out = again.data();
    kernels.attention[static_cast<int>(type)](t);
    CHECK(again == out);
    double most = 0;
    for (std::int64_t i = 0; i < queries; ++i) {
      const std::int64_t seen = causal ? i + 1 : keys;
      std::vector<double> p(seen);
      double total = 0;
      for (std::int64_t j = 0; j < seen; ++j) {
        double s = 0;
        for (std::int64_t d = 0; d < width; ++d) {
          s += static_cast<double>(q[i * distance + d]) * k[j * distance + d];
        }
        total += p[j] = std::exp(s);
      }
      for (std::int64_t d = 0; d < width; ++d) {
        double sum = 0;
        for (std::int64_t j = 0; j < seen; ++j) sum += p[j] / total * v[j * distance + d];
        most = std::max(most, std::abs(sum - out[i * width + d]));
      }
    }
    CHECK(most < tolerance);
  }
}

// A row's result is the same bits with any other rows and any number of threads.
void same_bits(const Context& context) {
  // So many rows that 16-bit weights are widened once for all of them, and one row, for which they are not.
  constexpr std::int64_t kRows = 250, kColumns = 130, kInner = 1100;
  const auto a = values(kRows * kInner, 21), w = values(kColumns * kInner, 22);
  for (const auto precision : {Precision::fp32, Precision::bf16, Precision::fp16, Precision::int8}) {
    const Linear linear(context, precision, w.data(), nullptr, kColumns, kInner);
    const std::int64_t stride = row_stride(linear.type(), kInner);
    std::vector<char> input(kRows * stride);
    std::vector<float> scales(kRows), all(kRows * kColumns), one(kColumns);
    std::vector<std::int32_t> sums(kRows);
    context.kernels.layer_norm(a.data(), kInner, kRows, kInner, nullptr, nullptr, 0, linear.type(), input.data(),
                               stride, scales.data(), sums.data());
    const ConstMatrix in{input.data(),  kRows,         kInner,     stride / size_of(linear.type()),
                         linear.type(), scales.data(), sums.data()};
    linear.multiply(context, in, Matrix::dense(all.data(), kRows, kColumns));
    for (const std::int64_t r : {0, 13, 66, 249}) {
      linear.multiply(context, in.row_slice(r, 1), Matrix::dense(one.data(), 1, kColumns));
      CHECK(std::equal(one.begin(), one.end(), all.begin() + r * kColumns));
    }
  }
}

// Every number of 16 bits, widened and back; and what lies between two of them.
void numbers(const Kernels& kernels) {
  std::vector<std::uint16_t> all(65536);
  std::vector<float> wide(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
  for (const bool is_bf16 : {false, true}) {
    (is_bf16 ? kernels.widen_bf16 : kernels.widen_fp16)(all.data(), 65535,
                                                        wide.data());  // not a whole register at the end
    const std::uint16_t infinity = is_bf16 ? 0x7f80 : 0x7c00;
    const auto round = is_bf16 ? to_bf16 : to_fp16;
    bool right = true;
    for (std::size_t i = 0; i < 65535; ++i) {
      const std::uint16_t magnitude = all[i] & 0x7fff;
      if (magnitude > infinity) {
        right = right && std::isnan(wide[i]);
        continue;
      }
      right = right && round(wide[i]) == all[i];
      if (magnitude + 1 >= infinity || i + 1 >= 65535) continue;
      const float middle = wide[i] / 2 + wide[i + 1] / 2;
      const std::uint16_t even = i % 2 == 0 ? all[i] : all[i + 1];
      right = right && round(middle) == even;
      right = right && round(std::nextafter(middle, wide[i])) == all[i];
      right = right && round(std::nextafter(middle, wide[i + 1])) == all[i + 1];
    }
    CHECK(right);
  }
  CHECK(to_fp16(65519.0f) == 0x7bff && to_fp16(65520.0f) == 0x7c00 && to_fp16(-1e30f) == 0xfc00);
  CHECK(to_fp16(1.0f) == 0x3c00 && to_fp16(-2.0f) == 0xc000 && to_fp16(5.9604645e-8f) == 1 && to_fp16(2e-8f) == 0);
}

// Rows of bf16 are found by what is stored, whether few or many ask.
void bf16_index() {
  constexpr std::int64_t kDim = 37, kRows = 700;
  const auto rows = values(kRows * kDim, 31), queries = values(20 * kDim, 32);
  Index index(DType::bf16, kDim);
  index.add(rows.data(), kRows);
  for (const std::int64_t count : {1, 20}) {
    std::vector<std::int32_t> hits(count);
    std::vector<float> scores(count);
    index.search({queries.data(), count, 1, {}}, {hits.data(), scores.data()});
    for (std::int64_t q = 0; q < count; ++q) {
      double best = -1e9;
      for (std::int64_t r = 0; r < kRows; ++r) {
        double sum = 0;
        for (std::int64_t i = 0; i < kDim; ++i) {
          sum += queries[q * kDim + i] * stored(Precision::bf16, rows[r * kDim + i]);
        }
        best = std::max(best, sum);
      }
      CHECK(std::abs(best - scores[q]) < 0.03);
    }
  }
}

}  // namespace

int main() {
  const auto json = Json::parse(R"({"a": [1, -2.5e3, "x\u00e9\n", true, null], "b": {"c": 3}})");
  CHECK(json["a"].items().size() == 5 && json["a"].items()[1].number() == -2500 && json["b"]["c"].number() == 3);
  CHECK(json["a"].items()[2].text() == "x\xc3\xa9\n" && json["none"]["deeper"].number(7) == 7);
  for (const char* bad : {"", "{", "[1,]", "\"x", "{\"a\":1} 2", "\"\\u12\""}) {
    CHECK(torchclip::test::status_of<Error>([&] { Json::parse(bad); }) == TORCHCLIP_E_MODEL_CORRUPT);
  }
  const auto* table = kernels();
  std::printf("%s\n", table->name);
  numbers(*table);
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    std::vector<int> seen(1000, 0);
    for (int round = 0; round < 200; ++round) pool.parallel_for(1000, [&](std::int64_t i) { ++seen[i]; });
    CHECK(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 200; }));
    const Context context{*table, pool};
    products(context, Precision::fp32, 2e-6);
    convolutions(context);
    int8_dots(context);
    products(context, Precision::int8, table->weight_max == 127 ? 0.02 : 0.04);
    products(context, Precision::bf16, input_type(context, Precision::bf16) == DType::f32 ? 2e-6 : 0.01);
    products(context, Precision::fp16, 2e-6);
    same_bits(context);
  }
  attentions(*table, DType::f32, 5e-6);
  if (table->attention[static_cast<int>(DType::bf16)]) attentions(*table, DType::bf16, 8e-3);
  bf16_index();
  Index index(DType::f32, 5);
  const auto rows = values(5 * 900, 8);
  index.add(rows.data(), 900);
  std::int32_t hits[3];
  float scores[3];
  index.search({rows.data() + 5 * 17, 1, 3, {}}, {hits, scores});
  CHECK(scores[0] >= scores[1] && scores[1] >= scores[2]);
  CHECK(torchclip::test::status_of<Error>([&] {
          index.search({rows.data(), 1, 901, {}}, {hits, scores});
        }) == TORCHCLIP_E_ARGUMENT);
  return torchclip::test::failures();
}
