// The kernels of the prefilter: int8 rows and what bounds their scores, candidates, exact scores.
#include "prefilter.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "bench.h"
#include "check.h"
#include "quantized_query.h"
#include "row_major.h"

using namespace torchclip::cuda;
using torchclip::test::first_difference;
using torchclip::test::RowMajor;

namespace {

constexpr float kInfinity = INFINITY;

double dot(const float* a, const float* b, std::int64_t length) {
  double sum = 0;
  for (std::int64_t i = 0; i < length; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

// Rows on the device with their int8 form.
struct Quantized {
  Quantized(const std::vector<float>& floats, std::int64_t values_of_row)
      : length(values_of_row), count(static_cast<std::int64_t>(floats.size()) / values_of_row) {
    const auto n = static_cast<std::size_t>(count);
    const auto tiles = static_cast<std::size_t>((count + kTileRows - 1) / kTileRows);
    on_device = bench.put(floats);
    rows.values = bench.put(std::vector<std::int8_t>(tiles * static_cast<std::size_t>(kTileRows * length), 99));
    rows.scales = bench.put(std::vector<float>(n));
    rows.norms = bench.put(std::vector<float>(n));
    rows.errors = bench.put(std::vector<float>(n));
    quantize_rows(bench.stream(), on_device, 0, count, length, rows);
    list = {bench.put(std::vector<RowBlock>{{on_device, rows, 0}}), 1, count, length};
  }

  // Value i of a row, from its place in the tile.
  static std::int8_t value(const std::vector<std::int8_t>& all, std::int64_t length, std::int64_t row, std::int64_t i) {
    const std::int64_t tile = row / kTileRows * kTileRows * length;
    const std::int64_t chunk = (i / kChunk * kTileRows + row % kTileRows) * kChunk;
    return all[static_cast<std::size_t>(tile + chunk + i % kChunk)];
  }

  struct Bounds {
    std::vector<float> lower;                   // [queries, count]
    std::vector<float> tile_lower, tile_upper;  // [queries, tiles]
  };

  // What bounds the scores of all rows.
  Bounds bounds(const std::vector<float>& queries, const AllowedRows& allowed = {}) {
    const auto n = static_cast<std::int64_t>(queries.size()) / length;
    const QueryBlock block(length, n);
    std::vector<char> written(static_cast<std::size_t>(block.bytes()));
    block.write(queries.data(), written.data());
    const auto size = static_cast<std::size_t>(n * list.stride()), tiles = static_cast<std::size_t>(n * list.tiles());
    const ScoreBounds out{bench.put(std::vector<float>(size, 7)), bench.put(std::vector<float>(tiles, 7)),
                          bench.put(std::vector<float>(tiles, 7))};
    bound_scores(bench.stream(), list, block.queries(bench.put(written), 0, n), allowed, out);
    return {without_padding(bench.get<float>(out.lower, size)), bench.get<float>(out.tile_lower, tiles),
            bench.get<float>(out.tile_upper, tiles)};
  }

  // The exact scores of all rows.
  std::vector<float> scores(const std::vector<float>& queries, const AllowedRows& allowed = {}) {
    const auto n = static_cast<std::int64_t>(queries.size()) / length;
    const auto size = static_cast<std::size_t>(n * list.stride());
    auto* out = bench.put(std::vector<float>(size));
    exact_scores(bench.stream(), list, bench.put(queries), n, allowed, out);
    return without_padding(bench.get<float>(out, size));
  }

  // [queries, stride] without the rows that fill the last tile.
  std::vector<float> without_padding(const std::vector<float>& padded) const {
    std::vector<float> values;
    for (auto at = padded.begin(); at != padded.end(); at += list.stride()) values.insert(values.end(), at, at + count);
    return values;
  }

  Bench bench;
  std::int64_t length, count;
  float* on_device;
  QuantizedRows rows{};
  RowList list{};
};

// Rows of many lengths and shapes: of random numbers, with one large value, of few values.
std::vector<float> various_rows(std::int64_t count, std::int64_t length) {
  auto rows = wide_values(count * length, 3);
  for (std::int64_t r = 0; r < count; ++r) {
    const auto size = static_cast<float>(std::pow(10.0, static_cast<double>(r % 7 - 3)));
    for (std::int64_t i = 0; i < length; ++i) {
      float& x = rows[static_cast<std::size_t>(r * length + i)];
      x *= size;
      if (r % 5 == 1 && i % 9 != 0) x = 0;
      if (r % 5 == 2 && i == r % length) x *= 50;
    }
  }
  return rows;
}

// The scores of candidates, here every third row, have the bits of those of all rows.
void check_candidates(Quantized& q, const std::vector<float>& queries, const std::vector<float>& scores) {
  std::vector<std::int32_t> some;
  for (std::int64_t row = 0; row < q.count; row += 3) some.push_back(static_cast<std::int32_t>(row));
  const auto most = static_cast<std::int64_t>(some.size()), n = static_cast<std::int64_t>(queries.size()) / q.length;
  std::vector<std::int32_t> rows;
  for (std::int64_t i = 0; i < n; ++i) rows.insert(rows.end(), some.begin(), some.end());
  const std::vector<std::int32_t> counts(static_cast<std::size_t>(n), static_cast<std::int32_t>(most));
  auto* keys = q.bench.put(std::vector<std::uint64_t>(rows.size()));
  score_candidates(q.bench.stream(), q.list, q.bench.put(queries), n, {q.bench.put(rows), q.bench.put(counts), most},
                   keys);
  std::vector<std::uint64_t> expected;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<std::size_t>(rows[i]);
    expected.push_back(
        key_of(scores[i / some.size() * static_cast<std::size_t>(q.count) + row], static_cast<std::uint32_t>(row)));
  }
  CHECK(first_difference(q.bench.get<std::uint64_t>(keys, expected.size()), expected) == "");
}

}  // namespace

TEST_CASE("int8 rows are within half a step of the rows, and norms and errors are not too small") {
  for (const std::int64_t length : {64, 192, 2112}) {
    constexpr std::int64_t kRows = 70;
    const auto floats = various_rows(kRows, length);
    Quantized q(floats, length);
    const auto values = q.bench.get<std::int8_t>(q.rows.values, static_cast<std::size_t>(96 * length));
    const auto scales = q.bench.get<float>(q.rows.scales, kRows), norms = q.bench.get<float>(q.rows.norms, kRows),
               errors = q.bench.get<float>(q.rows.errors, kRows);
    const RowMajor rows(floats.data(), length);
    for (std::size_t r = 0; r < kRows; ++r) {
      CAPTURE(length);
      CAPTURE(r);
      const auto row = static_cast<std::int64_t>(r);
      double norm = 0, error = 0, largest = 0;
      for (std::int64_t i = 0; i < length; ++i) {
        const double x = rows[row][i];
        const double rest = x - static_cast<double>(scales[r]) * Quantized::value(values, length, row, i);
        norm += x * x;
        error += rest * rest;
        largest = std::max(largest, std::abs(rest));
      }
      CHECK(largest <= 0.5001 * scales[r]);
      CHECK(norms[r] >= std::sqrt(norm));
      CHECK(norms[r] <= 1.0001 * std::sqrt(norm));
      CHECK(errors[r] >= std::sqrt(error));
      CHECK(errors[r] <= 1.0001 * std::sqrt(error));
    }
  }
}

TEST_CASE("the bounds hold for every row, and are no wider than 3 % of the product of the norms") {
  constexpr std::int64_t kRows = 300;
  for (const std::int64_t length : {64, 512, 2112}) {
    for (const std::int64_t count : {1, 3, 16}) {
      const auto floats = various_rows(kRows, length);
      const auto queries = wide_values(count * length, 8);
      Quantized q(floats, length);
      const auto lower = q.bounds(queries).lower;
      double most_above = 0, widest = 0;  // Relative to the product of the norms.
      for (std::int64_t i = 0; i < count * kRows; ++i) {
        const float *query = &queries[static_cast<std::size_t>(i / kRows * length)],
                    *row = &floats[static_cast<std::size_t>(i % kRows * length)];
        const double product = std::sqrt(dot(query, query, length) * dot(row, row, length));
        const double below = (dot(query, row, length) - lower[static_cast<std::size_t>(i)]) / product;
        most_above = std::max(most_above, -below);
        if (i % kRows % 5 != 1 && i % kRows % 5 != 2) widest = std::max(widest, below);
      }
      CAPTURE(length);
      CAPTURE(count);
      CHECK(most_above == 0);
      CHECK(widest < 0.03);
    }
  }
}

TEST_CASE("rows of NaN are never found, and rows without a bound have none") {
  constexpr std::int64_t kLength = 64;
  std::vector<float> floats(7 * kLength, 1.0f);
  floats[1 * kLength + 5] = NAN;
  floats[2 * kLength + 6] = -kInfinity;
  floats[3 * kLength + 7] = 1e30f;
  std::fill_n(floats.begin() + 4 * kLength, kLength, 1e-30f);
  std::fill_n(floats.begin() + 5 * kLength, kLength, 0.0f);
  floats[6 * kLength + 1] = NAN;
  floats[6 * kLength + 2] = kInfinity;
  Quantized q(floats, kLength);
  const auto bounds = q.bounds(std::vector<float>(kLength, 1.0f));
  const auto& lower = bounds.lower;
  CHECK(lower[0] > 63);
  CHECK(lower[0] <= 64);
  CHECK(std::isnan(lower[1]));
  for (const std::size_t row : {2u, 3u, 4u}) CHECK(lower[row] == -kInfinity);
  CHECK(lower[5] == 0);
  CHECK(std::isnan(lower[6]));
  CHECK(bounds.tile_lower[0] == lower[0]);
  CHECK(bounds.tile_upper[0] == kInfinity);
}

TEST_CASE("a tile's bounds are the largest of its rows', and above their exact scores") {
  constexpr std::int64_t kLength = 64, kRows = 150;
  for (const std::int64_t count : {1, 9, 16}) {
    CAPTURE(count);
    const auto queries = wide_values(count * kLength, 12);
    Quantized q(various_rows(kRows, kLength), kLength);
    const auto bounds = q.bounds(queries);
    const auto exact = q.scores(queries);
    std::vector<float> lower(bounds.tile_lower.size(), -kInfinity), most(lower);
    const auto tiles = static_cast<std::size_t>(q.list.tiles());
    for (std::size_t i = 0; i < exact.size(); ++i) {
      const std::size_t tile = i / kRows * tiles + i % kRows / kTileRows;
      lower[tile] = std::max(lower[tile], bounds.lower[i]);
      most[tile] = std::max(most[tile], exact[i]);
    }
    CHECK(first_difference(bounds.tile_lower, lower) == "");
    for (std::size_t tile = 0; tile < most.size(); ++tile) CHECK(bounds.tile_upper[tile] >= most[tile]);
  }
}

TEST_CASE("queries that are not finite, tiny or huge have no bounds") {
  constexpr std::int64_t kLength = 64;
  const std::vector<float> firsts{1, NAN, kInfinity, 1e-30f, 1e30f, 0};
  std::vector<float> queries(firsts.size() * kLength);
  for (std::size_t q = 0; q < firsts.size(); ++q) queries[q * kLength] = firsts[q];
  const QueryBlock block(kLength, static_cast<std::int64_t>(firsts.size()));
  std::vector<char> written(static_cast<std::size_t>(block.bytes()));
  const auto bounded = block.write(queries.data(), written.data());
  CHECK(bounded == std::vector<bool>{true, false, false, false, false, true});
}

TEST_CASE("rows that are not allowed have no lower bound and no exact score") {
  constexpr std::int64_t kLength = 64, kRows = 20;
  const auto floats = wide_values(kRows * kLength, 4), query = wide_values(kLength, 5);
  Quantized q(floats, kLength);
  const AllowedRows allowed{q.bench.put(std::vector<std::uint8_t>{0x0f, 0x01}), 12};
  const auto lower = q.bounds(query, allowed).lower, exact = q.scores(query, allowed);
  for (std::int64_t r = 0; r < kRows; ++r) {
    CAPTURE(r);
    const bool passes = r < 4 || r == 8;
    CHECK(std::isnan(lower[static_cast<std::size_t>(r)]) == !passes);
    CHECK(std::isnan(exact[static_cast<std::size_t>(r)]) == !passes);
  }
}

TEST_CASE("exact scores are sums in double, rounded once") {
  constexpr std::int64_t kLength = 320, kRows = 37;
  for (const std::int64_t count : {1, 2, 8, 9, 16}) {
    CAPTURE(count);
    const auto floats = various_rows(kRows, kLength), queries = wide_values(count * kLength, 6);
    Quantized q(floats, kLength);
    std::vector<float> expected;
    for (std::int64_t i = 0; i < count * kRows; ++i) {
      expected.push_back(static_cast<float>(dot(&queries[static_cast<std::size_t>(i / kRows * kLength)],
                                                &floats[static_cast<std::size_t>(i % kRows * kLength)], kLength)));
    }
    const auto scores = q.scores(queries);
    CHECK(first_difference(scores, expected) == "");
    check_candidates(q, queries, scores);
  }
}
