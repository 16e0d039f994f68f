// The selection of the k best scores: the order of its keys, and the kernel against a stable sort.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "base/item.h"
#include "bench.h"
#include "check.h"
#include "row_major.h"
#include "search.h"

using namespace torchclip::cuda;
using torchclip::test::first_difference;
using torchclip::test::RowMajor;

TEST_CASE("keys are in the order of the scores, equal scores in that of the rows") {
  CHECK(key_of(1.0f, 3) > key_of(1.0f, 4));
  CHECK(key_of(0.5f, 9) > key_of(-0.5f, 0));
  CHECK(key_of(-1.0f, 0) < key_of(-0.9f, 5));
  CHECK(key_of(0.0f, 1) > key_of(-0.0f, 2));
  CHECK(key_of(-0.0f, 1) > key_of(0.0f, 2));
}

TEST_CASE("a score that is no number comes after all others") {
  CHECK(key_of(NAN, 0) < key_of(-INFINITY, 7));
  CHECK(key_of(NAN, 1) > 0);
  CHECK(std::isnan(score_of(key_of(NAN, 1))));
}

TEST_CASE("a key holds its score and its row") {
  CHECK(score_of(key_of(-0.25f, 77)) == -0.25f);
  CHECK(row_of(key_of(-0.25f, 77)) == 77);
}

TEST_CASE("the k best of scores that come in parts are those of a stable sort") {
  constexpr std::int64_t kQueries = 3, kColumns = 5000, kChunk = 1999;
  Bench bench;
  auto scores = wide_values(kQueries * kColumns, 30);
  for (std::size_t i = 0; i < scores.size(); i += 3) scores[i] = 1.5f;  // many ties
  const RowMajor rows_of_scores(scores.data(), kColumns);
  std::iota(rows_of_scores[0], rows_of_scores[1], 0.0f);  // each better than all before
  for (const auto& [k, parts] : {std::pair<std::int32_t, std::int64_t>{1, 1}, {10, 1}, {10, 7}, {1024, 1}, {1024, 2}}) {
    auto* best = bench.put(std::vector<std::uint64_t>(static_cast<std::size_t>(kQueries * parts * k), 0));
    for (std::int64_t first = 0; first < kColumns; first += kChunk) {
      const std::int64_t n = std::min(kChunk, kColumns - first);
      std::vector<float> part;
      for (std::int64_t q = 0; q < kQueries; ++q) {
        const float* from = rows_of_scores[q] + first;
        part.insert(part.end(), from, from + n);
      }
      select_top_k(bench.stream(), bench.put(part), kQueries, n, n, first, k, parts, first > 0, best);
    }
    auto keys = bench.get<std::uint64_t>(best, static_cast<std::size_t>(kQueries * parts * k));
    keys = merged_hits(keys, kQueries, parts, k);
    const RowMajor hits(keys.data(), k);
    for (std::int64_t q = 0; q < kQueries; ++q) {
      CAPTURE(k);
      CAPTURE(parts);
      CAPTURE(q);
      std::vector<std::uint32_t> order(kColumns), rows;
      std::iota(order.begin(), order.end(), 0u);
      const float* row = rows_of_scores[q];
      std::stable_sort(order.begin(), order.end(), [row](auto a, auto b) { return row[a] > row[b]; });
      std::vector<float> expected_scores, found_scores;
      for (const std::uint64_t* hit = hits[q]; hit != hits[q + 1]; ++hit) {
        rows.push_back(row_of(*hit));
        found_scores.push_back(score_of(*hit));
      }
      order.resize(rows.size());
      for (const std::uint32_t expected_row : order) expected_scores.push_back(row[expected_row]);
      CHECK(first_difference(rows, order) == "");
      CHECK(first_difference(found_scores, expected_scores) == "");
    }
  }
}

TEST_CASE("the k best of keys are theirs in order, whether a query has some or all of its columns") {
  constexpr std::int64_t kQueries = 2, kMost = 3000;
  Bench bench;
  std::vector<std::uint64_t> keys;
  std::uint32_t seed = 5;
  for (std::int64_t i = 0; i < kQueries * kMost; ++i) {
    keys.push_back(key_of(torchclip::test::next_value(seed), static_cast<std::uint32_t>(i % kMost)));
  }
  const std::vector<std::int32_t> counts{700, 5000};  // the second query had more than were kept
  for (const std::int32_t k : {1, 10, 1024}) {
    auto* best = bench.put(std::vector<std::uint64_t>(static_cast<std::size_t>(kQueries * k), 0));
    select_keys(bench.stream(), bench.put(keys), kQueries, kMost, bench.put(counts), k, best);
    const auto found = bench.get<std::uint64_t>(best, static_cast<std::size_t>(kQueries * k));
    for (std::int64_t q = 0; q < kQueries; ++q) {
      CAPTURE(k);
      CAPTURE(q);
      const auto from = keys.begin() + q * kMost;
      std::vector<std::uint64_t> expected(from, from + std::min<std::int64_t>(torchclip::core::item(counts, q), kMost));
      std::sort(expected.rbegin(), expected.rend());
      expected.resize(static_cast<std::size_t>(k), 0);
      CHECK(first_difference(std::vector(found.begin() + q * k, found.begin() + (q + 1) * k), expected) == "");
    }
  }
}
