// The kernels of this machine against plain loops: products of every type at odd sizes, attention, layer norm, search.
#include "kernels/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"
#include "model/fast/packed.h"
#include "model/fast/winograd.h"
#include "runtime/error.h"
#include "runtime/json.h"
#include "search/byte_queries.h"
#include "search/index.h"

using namespace torchclip::core;
using torchclip::test::values;

namespace {

void products(const Context& context, Type type, double tolerance) {
  for (const std::int64_t rows : {1, 13, 29}) {
    for (const std::int64_t columns : {1, 31, 70}) {
      for (const std::int64_t inner : {3, 64, 2501}) {
        const auto a = values(rows * inner, 1), w = values(columns * inner, 2), bias = values(columns, 3);
        const Linear linear(context, type, w.data(), bias.data(), columns, inner);
        std::vector<char> input(rows * row_bytes(type, inner));
        std::vector<float> scales(rows), out(rows * columns), residual = values(rows * columns, 4);
        std::vector<std::int32_t> sums(rows);
        context.kernels.layerNorm(a.data(), inner, rows, inner, nullptr, nullptr, 0, type, input.data(),
                                  row_bytes(type, inner), scales.data(), sums.data());
        linear.multiply(context, {input.data(), row_bytes(type, inner), scales.data(), sums.data()}, rows,
                        {out.data(), columns, Type::f32, Activation::none, residual.data(), columns});
        double most = 0;
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t c = 0; c < columns; ++c) {
            double sum = bias[c] + residual[r * columns + c];
            for (std::int64_t k = 0; k < inner; ++k) sum += static_cast<double>(a[r * inner + k]) * w[c * inner + k];
            most = std::max(most, std::abs(sum - out[r * columns + c]));
          }
        }
        CHECK(most <= tolerance * std::sqrt(static_cast<double>(inner)));
      }
    }
  }
}

// Few queries by rows of int8: the bits of the same as a product, zeros beside them.
void byte_dots(const Context& context) {
  for (const std::int64_t dim : {1, 30, 64, 129, 512}) {
    constexpr std::int64_t kRows = 37;
    const std::int64_t stride = row_bytes(Type::s8, dim);
    const auto base = values(kRows * dim, 11);
    std::vector<char> rows(kRows * stride);
    std::vector<float> scales(kRows), expected(kRows * kPanel), out(kRows * kPanel, 9.0f);
    std::vector<std::int32_t> sums(kRows);
    context.kernels.layerNorm(base.data(), dim, kRows, dim, nullptr, nullptr, 0, Type::s8, rows.data(), stride,
                              scales.data(), sums.data());
    for (const std::int64_t count : {1, 3, 8}) {
      const auto queries = values(count * dim, 12);
      const Linear packed(context, Type::s8, queries.data(), nullptr, count, dim);
      packed.multiply_panel(context.kernels, {rows.data(), stride, scales.data(), sums.data()}, kRows,
                            {expected.data(), kPanel}, 0);
      ByteQueries(context, queries.data(), count, dim)
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
    Buffer scratch;
    WinogradConvolution(context, w.data(), bias.data(), c.columns, c.channels)
        .run(context, in.data(), c.images, c.side, out.data(), scratch);
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
void attentions(const Kernels& kernels, Type type, double tolerance) {
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
    std::vector<std::uint16_t> brains[3];
    const void* data[3] = {q.data(), k.data(), v.data()};
    if (type == Type::bf16) {
      std::vector<float>* of[3] = {&q, &k, &v};
      for (int i = 0; i < 3; ++i) {
        for (float& x : *of[i]) {
          brains[i].push_back(to_bf16(x));
          const std::uint32_t bits = static_cast<std::uint32_t>(brains[i].back()) << 16;
          std::memcpy(&x, &bits, 4);
        }
        data[i] = brains[i].data();
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
    std::vector<char> turned[2];
    const std::int64_t bytes = distance * size_of(type);
    for (std::int64_t i = 0; i < keys; ++i) rows[i] = static_cast<std::int32_t>(keys - 1 - i);
    for (int i = 0; i < 2; ++i) {
      const char* from = static_cast<const char*>(data[i + 1]);
      for (std::int64_t r = 0; r < keys; ++r)
        turned[i].insert(turned[i].end(), from + rows[r] * bytes, from + (rows[r] + 1) * bytes);
    }
    std::vector<float> again(out.size(), 7.0f);
    t.rows = rows.data();
    t.k = turned[0].data();
    t.v = turned[1].data();
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

}  // namespace

int main() {
  const auto json = Json::parse(R"({"a": [1, -2.5e3, "x\u00e9\n", true, null], "b": {"c": 3}})");
  CHECK(json["a"].items().size() == 5 && json["a"].items()[1].number() == -2500 && json["b"]["c"].number() == 3);
  CHECK(json["a"].items()[2].text() == "x\xc3\xa9\n" && json["none"]["deeper"].number(7) == 7);
  for (const char* bad : {"", "{", "[1,]", "\"x", "{\"a\":1} 2", "\"\\u12\""}) {
    CHECK(torchclip::test::status_of<Error>([&] { Json::parse(bad); }) == TORCHCLIP_E_MODEL_CORRUPT);
  }
  const auto* table = kernels();
  if (!table) return torchclip::test::failures();  // no AVX2: TorchScript alone
  for (const int threads : {1, 3}) {
    Team team(threads);
    std::vector<int> seen(1000, 0);
    for (int round = 0; round < 200; ++round) team.each(1000, [&](std::int64_t i) { ++seen[i]; });
    CHECK(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 200; }));
    const Context context{*table, team};
    products(context, Type::f32, 2e-6);
    convolutions(context);
    byte_dots(context);
    products(context, Type::s8, table->weightMax == 127 ? 0.02 : 0.04);
    if (table->multiply[static_cast<int>(Type::bf16)]) products(context, Type::bf16, 0.01);
  }
  attentions(*table, Type::f32, 5e-6);
  if (table->attention[static_cast<int>(Type::bf16)]) attentions(*table, Type::bf16, 8e-3);
  Index index(Type::f32, 5);
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
