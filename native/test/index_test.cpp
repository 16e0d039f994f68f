// The index in one thread: rows in parts, filters, rows and queries that are no numbers, files, closing.
#include "search/index.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "files.h"
#include "index_search.h"
#include "row_major.h"
#include "values.h"

using namespace torchclip::core;
using namespace torchclip::test;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::s8};

// Where two results differ, in words; empty where they are equal. NaN, the score after the last hit, equals NaN.
std::string difference(Found got, Found expected) {
  const auto indices = first_difference(got.indices, expected.indices);
  if (!indices.empty()) return "indices: " + indices;
  for (auto* scores : {&got.scores, &expected.scores}) {
    std::replace_if(
        scores->begin(), scores->end(), [](float score) { return std::isnan(score); }, -1e30f);
  }
  const auto scores = first_difference(got.scores, expected.scores);
  return scores.empty() ? "" : "scores: " + scores;
}

// A filter of the rows 1, 1 + every, 1 + 2 every ..., and an index of those rows alone.
struct FilteredRows {
  FilteredRows(const std::vector<float>& base, DType type, std::int64_t dim, std::int64_t every) : index(type, dim) {
    const std::int64_t rows = static_cast<std::int64_t>(base.size()) / dim;
    bits.resize(static_cast<std::size_t>(rows / 8 + 1));
    std::vector<float> kept;
    for (std::int64_t row = 1; row < rows; row += every) {
      auto& byte = bits[static_cast<std::size_t>(row / 8)];
      byte = static_cast<std::uint8_t>(byte | 1 << row % 8);
      kept.insert(kept.end(), base.begin() + row * dim, base.begin() + (row + 1) * dim);
      numbers.push_back(static_cast<std::int32_t>(row));
    }
    index.add(kept.data(), static_cast<std::int64_t>(numbers.size()));
  }

  Found found(const std::vector<float>& queries, std::int32_t k) const {
    auto result = search(index, queries, k);
    for (auto& row : result.indices) row = numbers[static_cast<std::size_t>(row)];
    return result;
  }

  Index index;
  std::vector<std::uint8_t> bits;
  std::vector<std::int32_t> numbers;
};

double seconds_of(const Index& index, const std::vector<float>& query, const RowFilter& filter) {
  double best = 1e9;
  for (int round = 0; round < 5; ++round) {
    const auto start = std::chrono::steady_clock::now();
    search(index, query, 10, filter);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace

TEST_CASE("scores are in order, and k is at most the number of rows") {
  constexpr std::int64_t kDim = 5, kRows = 900;
  Index index(DType::f32, kDim);
  const auto rows = values(kDim * kRows, 8);
  index.add(rows.data(), kRows);
  const std::vector<float> query(rows.begin() + kDim * 17, rows.begin() + kDim * 18);
  const auto found = search(index, query, 3);
  CHECK(found.scores[0] >= found.scores[1]);
  CHECK(found.scores[1] >= found.scores[2]);
  CHECK(outcome_of([&] { search(index, query, kRows + 1); }) == TORCHCLIP_E_ARGUMENT);
}

TEST_CASE("rows of bf16 are found by what is stored, whether few or many ask") {
  constexpr std::int64_t kDim = 37, kRows = 700;
  const auto rows = values(kRows * kDim, 31), queries = values(20 * kDim, 32);
  Index index(DType::bf16, kDim);
  index.add(rows.data(), kRows);
  const RowMajor given(rows.data(), kDim), asked(queries.data(), kDim);
  for (const std::int64_t count : {1, 20}) {
    const auto found = search(index, {queries.begin(), queries.begin() + count * kDim}, 1);
    for (std::int64_t q = 0; q < count; ++q) {
      CAPTURE(count);
      CAPTURE(q);
      double best = -1e9;
      for (std::int64_t r = 0; r < kRows; ++r) {
        double sum = 0;
        for (std::int64_t i = 0; i < kDim; ++i) sum += asked[q][i] * stored(Precision::bf16, given[r][i]);
        best = std::max(best, sum);
      }
      CHECK(std::abs(best - found.scores[static_cast<std::size_t>(q)]) < 0.03);
    }
  }
}

TEST_CASE("rows that come in parts are those that come at once, and are there from the commit on") {
  constexpr std::int64_t kDim = 24, kRows = 3000;
  const auto base = values(kRows * kDim, 1), queries = values(3 * kDim, 2);
  for (const DType type : kTypes) {
    CAPTURE(name_of(type));
    Index whole(type, kDim), parts(type, kDim);
    whole.add(base.data(), kRows);
    for (std::int64_t first = 0; first < kRows; first += 700) {
      const std::int64_t n = std::min<std::int64_t>(700, kRows - first);
      parts.stage(base.data() + first * kDim, n, kRows - first - n);
      CHECK(parts.rows() == 0);
    }
    parts.commit();
    CHECK(parts.rows() == kRows);
    CHECK(difference(search(parts, queries, 9), search(whole, queries, 9)) == "");
  }
}

TEST_CASE("what is discarded leaves nothing behind") {
  constexpr std::int64_t kDim = 24, kRows = 3000;
  const auto base = values(kRows * kDim, 1), others = values(3 * kDim, 2);
  for (const DType type : kTypes) {
    CAPTURE(name_of(type));
    Index index(type, kDim);
    index.add(base.data(), kRows);
    index.stage(others.data(), 3, 0);
    index.discard();
    index.add(base.data(), 1);
    std::vector<float> first(kDim), last(kDim);
    index.read(0, 1, first.data());
    index.read(kRows, 1, last.data());
    CHECK(index.rows() == kRows + 1);
    CHECK(first_difference(last, first) == "");
  }
}

TEST_CASE("numbers of rows outside of their ranges are refused") {
  constexpr std::int64_t kDim = 24, kRows = 3000;
  const auto base = values(kRows * kDim, 1), queries = values(3 * kDim, 2);
  for (const DType type : kTypes) {
    CAPTURE(name_of(type));
    Index index(type, kDim);
    index.add(base.data(), kRows);
    std::vector<float> out(kDim);
    CHECK(outcome_of([&] { index.read(kRows - 1, 2, out.data()); }) == TORCHCLIP_E_ARGUMENT);
    CHECK(outcome_of([&] { index.read(-1, 1, out.data()); }) == TORCHCLIP_E_ARGUMENT);
    CHECK(outcome_of([&] { search(index, queries, kRows + 1); }) == TORCHCLIP_E_ARGUMENT);
    CHECK(outcome_of([&] { index.stage(base.data(), -1, 0); }) == TORCHCLIP_E_ARGUMENT);
    CHECK(outcome_of([&] { index.stage(base.data(), 1, kMostRows); }) == TORCHCLIP_E_ARGUMENT);
  }
}

TEST_CASE("a filter finds what an index of the rows that pass finds") {
  constexpr std::int64_t kDim = 40, kRows = 5003;
  const auto base = values(kRows * kDim, 3);
  for (const DType type : kTypes) {
    Index index(type, kDim);
    index.add(base.data(), kRows);
    for (const std::int64_t every : {1, 2, 9, 97, 4999}) {
      const FilteredRows some(base, type, kDim, every);
      const auto k = static_cast<std::int32_t>(std::min<std::size_t>(10, some.numbers.size()));
      for (const std::int64_t queries : {1, 8, 9, 40}) {
        CAPTURE(name_of(type));
        CAPTURE(every);
        CAPTURE(queries);
        const auto q = values(static_cast<std::size_t>(queries * kDim), 4);
        CHECK(difference(search(index, q, k, {some.bits.data(), kRows}), some.found(q, k)) == "");
      }
    }
  }
}

TEST_CASE("rows that the filter has no bit for are left out") {
  constexpr std::int64_t kDim = 40, kRows = 5003;
  const auto base = values(kRows * kDim, 3);
  for (const DType type : kTypes) {
    CAPTURE(name_of(type));
    Index index(type, kDim);
    index.add(base.data(), kRows);
    const std::vector<std::uint8_t> all(2, 0xFF);
    const auto few = search(index, values(kDim, 5), 20, {all.data(), 16});
    CHECK(std::count_if(few.indices.begin(), few.indices.end(), [](int row) { return row >= 0 && row < 16; }) == 16);
    CHECK(few.indices[16] == -1);
    CHECK(std::isnan(few.scores[16]));
  }
}

TEST_CASE("rows and queries that are no numbers find nothing and do not disturb the others") {
  constexpr std::int64_t kDim = 8;
  for (const float odd : {kNaN, std::numeric_limits<float>::infinity()}) {
    for (const DType type : kTypes) {
      CAPTURE(odd);
      CAPTURE(name_of(type));
      auto base = values(4 * kDim, 6);
      base[10] = odd;                                   // some of row 1
      std::fill_n(base.begin() + 3 * kDim, kDim, odd);  // all of row 3
      Index index(type, kDim);
      index.add(base.data(), 4);
      const bool finds_infinities = type != DType::s8 && std::isinf(odd);
      for (const std::int64_t queries : {1, 40}) {
        const auto found = search(index, values(static_cast<std::size_t>(queries * kDim), 7), 4);
        for (std::int64_t q = 0; q < queries && !finds_infinities; ++q) {
          CAPTURE(q);
          const auto* row = found.indices.data() + q * 4;
          CHECK(std::min(row[0], row[1]) == 0);
          CHECK(std::max(row[0], row[1]) == 2);
          CHECK(row[2] == -1);
          CHECK(row[3] == -1);
        }
        // A query that is no number finds nothing; those beside it are what they are alone.
        auto mixed = values(static_cast<std::size_t>(queries * kDim), 7);
        mixed[3] = kNaN;
        auto beside = search(index, mixed, 4);
        CHECK(beside.indices[0] == -1);
        CHECK(std::isnan(beside.scores[0]));
        std::copy_n(found.indices.begin(), 4, beside.indices.begin());
        CHECK(first_difference(beside.indices, found.indices) == "");
      }
    }
  }
}

TEST_CASE("a mapped file is searched as memory is, and rows that are added bring it into memory") {
  constexpr std::int64_t kDim = 16, kRows = 9000;
  const auto base = values(kRows * kDim, 8), queries = values(2 * kDim, 9);
  const TemporaryFile file;
  file.write(npy_file(base, kDim));
  Index memory(DType::f32, kDim);
  memory.add(base.data(), kRows);
  const auto mapped = Index::open_npy(file.path());
  const auto expected = search(memory, queries, 5);
  CHECK(mapped->bytes() == 0);
  CHECK(difference(search(*mapped, queries, 5), expected) == "");

  const auto grown = Index::open_npy(file.path());
  grown->add(base.data(), 1);
  CHECK(grown->rows() == kRows + 1);
  CHECK(grown->bytes() > 0);
  CHECK(truncate(file.path().c_str(), 5000) == 0);
  CHECK(difference(search(*grown, queries, 5), expected) == "");  // the file does not matter any more

  std::vector<float> out(static_cast<std::size_t>(kRows * kDim));
  CHECK(outcome_of([&] { search(*mapped, queries, 5); }) == TORCHCLIP_E_INDEX_CORRUPT);
  CHECK(outcome_of([&] { mapped->read(0, kRows, out.data()); }) == TORCHCLIP_E_INDEX_CORRUPT);
  CHECK(outcome_of([&] { mapped->add(base.data(), 1); }) == TORCHCLIP_E_INDEX_CORRUPT);
  CHECK(mapped->rows() == kRows);
}

TEST_CASE("a file of no rows is opened and added to") {
  constexpr std::int64_t kDim = 16;
  const TemporaryFile file;
  file.write(npy_file(std::vector<float>{}, kDim));
  const auto empty = Index::open_npy(file.path());
  CHECK(empty->rows() == 0);
  CHECK(empty->dim() == kDim);
  empty->add(values(2 * kDim, 8).data(), 2);
  CHECK(empty->rows() == 2);
}

TEST_CASE("a closed index holds nothing and refuses every call") {
  Index index(DType::f32, 4);
  const std::vector<float> rows(8, 1.0f);
  index.add(rows.data(), 2);
  index.close();
  index.close();
  std::vector<float> out(4);
  CHECK(index.rows() == 0);
  CHECK(index.bytes() == 0);
  CHECK(outcome_of([&] { index.read(0, 1, out.data()); }) == TORCHCLIP_E_CLOSED);
  CHECK(outcome_of([&] { search(index, rows, 1); }) == TORCHCLIP_E_CLOSED);
  CHECK(outcome_of([&] { index.add(rows.data(), 1); }) == TORCHCLIP_E_CLOSED);
  CHECK(outcome_of([&] { index.add(rows.data(), 0); }) == TORCHCLIP_E_CLOSED);
}

TEST_CASE("dimensions outside of their range are refused") {
  CHECK(outcome_of([] { Index(DType::f32, 0); }) == TORCHCLIP_E_ARGUMENT);
  CHECK(outcome_of([] { Index(DType::f32, 65537); }) == TORCHCLIP_E_ARGUMENT);
}

TEST_CASE("a filter that leaves one row in a thousand is at least 5 times as fast as none") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return skip("a sanitizer changes what is fast");
#else
  constexpr std::int64_t kDim = 256, kRows = 60000;
  const auto base = values(kRows * kDim, 10), query = values(20 * kDim, 11);
  std::vector<std::uint8_t> bits(kRows / 8 + 1);
  for (std::int64_t row = 0; row < kRows; row += 1000) bits[static_cast<std::size_t>(row / 8)] = 1;
  Index index(DType::s8, kDim);
  index.add(base.data(), kRows);
  const double all = seconds_of(index, query, {}), few = seconds_of(index, query, {bits.data(), kRows});
  CHECK(few * 5 < all);
#endif
}
