// The index in one thread: rows in parts, filters, rows and queries that are no numbers, files, closing.
#include "search/index.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "check.h"
#include "files.h"

using namespace torchclip::core;
using torchclip::test::status_of;
using torchclip::test::values;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Found {
  std::vector<std::int32_t> indices;
  std::vector<float> scores;
};

Found search(const Index& index, const std::vector<float>& queries, std::int32_t k, const RowFilter& filter = {}) {
  const std::int64_t count = static_cast<std::int64_t>(queries.size()) / index.dim();
  Found found{std::vector<std::int32_t>(static_cast<std::size_t>(count * k)), {}};
  found.scores.resize(found.indices.size());
  index.search({queries.data(), count, k, filter}, {found.indices.data(), found.scores.data()});
  return found;
}

bool same(const Found& a, const Found& b) {
  const auto equal = [](float x, float y) { return x == y || (std::isnan(x) && std::isnan(y)); };
  return a.indices == b.indices && std::equal(a.scores.begin(), a.scores.end(), b.scores.begin(), equal);
}

constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::s8};

void test_parts() {
  constexpr std::int64_t kDim = 24, kRows = 3000;
  const auto base = values(kRows * kDim, 1), queries = values(3 * kDim, 2);
  for (const DType type : kTypes) {
    Index whole(type, kDim), parts(type, kDim);
    whole.add(base.data(), kRows);
    for (std::int64_t first = 0; first < kRows; first += 700) {
      const std::int64_t n = std::min<std::int64_t>(700, kRows - first);
      parts.stage(base.data() + first * kDim, n, kRows - first - n);
      CHECK(parts.rows() == 0);
    }
    parts.commit();
    CHECK(parts.rows() == kRows && same(search(whole, queries, 9), search(parts, queries, 9)));
    // What is discarded leaves nothing behind.
    parts.stage(queries.data(), 3, 0);
    parts.discard();
    parts.add(base.data(), 1);
    std::vector<float> first(kDim), last(kDim);
    parts.read(0, 1, first.data());
    parts.read(kRows, 1, last.data());
    CHECK(parts.rows() == kRows + 1 && first == last);
    CHECK(status_of<Error>([&] { parts.read(kRows, 2, first.data()); }) == TORCHCLIP_E_ARGUMENT);
    CHECK(status_of<Error>([&] { parts.read(-1, 1, first.data()); }) == TORCHCLIP_E_ARGUMENT);
    CHECK(status_of<Error>([&] { search(parts, queries, kRows + 2); }) == TORCHCLIP_E_ARGUMENT);
    CHECK(status_of<Error>([&] { parts.stage(base.data(), -1, 0); }) == TORCHCLIP_E_ARGUMENT);
    CHECK(status_of<Error>([&] { parts.stage(base.data(), 1, kMostRows); }) == TORCHCLIP_E_ARGUMENT);
  }
}

void test_filters() {
  constexpr std::int64_t kDim = 40, kRows = 5003;
  const auto base = values(kRows * kDim, 3);
  for (const DType type : kTypes) {
    Index index(type, kDim);
    index.add(base.data(), kRows);
    for (const std::int64_t every : {1, 2, 9, 97, 4999}) {
      std::vector<std::uint8_t> bits(static_cast<std::size_t>(kRows / 8 + 1));
      std::vector<float> kept;
      std::vector<std::int32_t> numbers;
      for (std::int64_t row = 1; row < kRows; row += every) {
        bits[static_cast<std::size_t>(row / 8)] |= static_cast<std::uint8_t>(1 << row % 8);
        kept.insert(kept.end(), base.begin() + row * kDim, base.begin() + (row + 1) * kDim);
        numbers.push_back(static_cast<std::int32_t>(row));
      }
      Index small(type, kDim);
      small.add(kept.data(), static_cast<std::int64_t>(numbers.size()));
      for (const std::int64_t queries : {1, 8, 9, 40}) {
        const auto q = values(static_cast<std::size_t>(queries * kDim), 4);
        const auto k = static_cast<std::int32_t>(std::min<std::size_t>(10, numbers.size()));
        auto expected = search(small, q, k);
        for (auto& row : expected.indices) row = numbers[static_cast<std::size_t>(row)];
        CHECK(same(expected, search(index, q, k, {bits.data(), kRows})));
      }
    }
    // Rows that the filter has no bit for are left out.
    const std::vector<std::uint8_t> all(2, 0xFF);
    const auto few = search(index, values(kDim, 5), 20, {all.data(), 16});
    CHECK(std::count_if(few.indices.begin(), few.indices.end(), [](int row) { return row >= 0 && row < 16; }) == 16);
    CHECK(few.indices[16] == -1 && std::isnan(few.scores[16]));
  }
}

void test_no_numbers() {
  constexpr std::int64_t kDim = 8;
  for (const float odd : {kNaN, std::numeric_limits<float>::infinity()}) {
    for (const DType type : kTypes) {
      auto base = values(4 * kDim, 6);
      base[10] = odd;                                   // some of row 1
      std::fill_n(base.begin() + 3 * kDim, kDim, odd);  // all of row 3
      Index index(type, kDim);
      index.add(base.data(), 4);
      const bool finds_infinities = type != DType::s8 && std::isinf(odd);
      for (const std::int64_t queries : {1, 40}) {
        const auto found = search(index, values(static_cast<std::size_t>(queries * kDim), 7), 4);
        for (std::int64_t q = 0; q < queries && !finds_infinities; ++q) {
          const auto* row = found.indices.data() + q * 4;
          CHECK(std::min(row[0], row[1]) == 0 && std::max(row[0], row[1]) == 2 && row[2] == -1 && row[3] == -1);
        }
        // A query that is no number finds nothing; those beside it are what they are alone.
        auto mixed = values(static_cast<std::size_t>(queries * kDim), 7);
        mixed[3] = kNaN;
        const auto beside = search(index, mixed, 4);
        CHECK(beside.indices[0] == -1 && std::isnan(beside.scores[0]));
        CHECK(std::equal(beside.indices.begin() + 4, beside.indices.end(), found.indices.begin() + 4));
      }
    }
  }
}

void test_files() {
  constexpr std::int64_t kDim = 16, kRows = 9000;
  const auto base = values(kRows * kDim, 8), queries = values(2 * kDim, 9);
  const torchclip::test::TemporaryFile file;
  file.write(torchclip::test::npy_file(base, kDim));
  Index memory(DType::f32, kDim);
  memory.add(base.data(), kRows);
  const auto mapped = Index::open_npy(file.path());
  const auto expected = search(memory, queries, 5);
  CHECK(mapped->bytes() == 0 && same(search(*mapped, queries, 5), expected));

  // Appended to: the rows come into memory, and the file does not matter any more.
  const auto grown = Index::open_npy(file.path());
  grown->add(base.data(), 1);
  CHECK(grown->rows() == kRows + 1 && grown->bytes() > 0);
  CHECK(truncate(file.path().c_str(), 5000) == 0);
  CHECK(same(search(*grown, queries, 5), expected));

  std::vector<float> out(static_cast<std::size_t>(kRows * kDim));
  CHECK(status_of<Error>([&] { search(*mapped, queries, 5); }) == TORCHCLIP_E_INDEX_CORRUPT);
  CHECK(status_of<Error>([&] { mapped->read(0, kRows, out.data()); }) == TORCHCLIP_E_INDEX_CORRUPT);
  CHECK(status_of<Error>([&] { mapped->add(base.data(), 1); }) == TORCHCLIP_E_INDEX_CORRUPT);
  CHECK(mapped->rows() == kRows);

  file.write(torchclip::test::npy_file(std::vector<float>{}, kDim));
  const auto empty = Index::open_npy(file.path());
  CHECK(empty->rows() == 0 && empty->dim() == kDim);
  empty->add(base.data(), 2);
  CHECK(empty->rows() == 2);
}

void test_close() {
  Index index(DType::f32, 4);
  const std::vector<float> rows(8, 1.0f);
  index.add(rows.data(), 2);
  index.close();
  index.close();
  std::vector<float> out(4);
  CHECK(index.rows() == 0 && index.bytes() == 0);
  CHECK(status_of<Error>([&] { index.read(0, 1, out.data()); }) == TORCHCLIP_E_CLOSED);
  CHECK(status_of<Error>([&] { search(index, rows, 1); }) == TORCHCLIP_E_CLOSED);
  CHECK(status_of<Error>([&] { index.add(rows.data(), 1); }) == TORCHCLIP_E_CLOSED);
  CHECK(status_of<Error>([&] { index.add(rows.data(), 0); }) == TORCHCLIP_E_CLOSED);
  CHECK(status_of<Error>([] { Index(DType::f32, 0); }) == TORCHCLIP_E_ARGUMENT);
  CHECK(status_of<Error>([] { Index(DType::f32, 65537); }) == TORCHCLIP_E_ARGUMENT);
}

double seconds_of(const Index& index, const std::vector<float>& query, const RowFilter& filter) {
  double best = 1e9;
  for (int round = 0; round < 5; ++round) {
    const auto start = std::chrono::steady_clock::now();
    search(index, query, 10, filter);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

// A filter that leaves one row in a thousand: at least 5 times as fast as none.
void test_sparse_filter_is_fast() {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  constexpr std::int64_t kDim = 256, kRows = 60000;
  const auto base = values(kRows * kDim, 10), query = values(20 * kDim, 11);
  std::vector<std::uint8_t> bits(kRows / 8 + 1);
  for (std::int64_t row = 0; row < kRows; row += 1000) bits[static_cast<std::size_t>(row / 8)] |= 1 << row % 8;
  Index index(DType::s8, kDim);
  index.add(base.data(), kRows);
  const double all = seconds_of(index, query, {}), few = seconds_of(index, query, {bits.data(), kRows});
  std::printf("no filter %.3f ms, one row in 1,000 %.3f ms\n", all * 1e3, few * 1e3);
  CHECK(few * 5 < all);
#endif
}

}  // namespace

int main() {
  test_parts();
  test_filters();
  test_no_numbers();
  test_files();
  test_close();
  test_sparse_filter_is_fast();
  return torchclip::test::failures();
}
