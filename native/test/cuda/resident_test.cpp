// Searches of rows that stay on a device: by their int8 copy and by the scores of all rows, against sums in double.
#include "resident_rows.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "forwarding_device.h"
#include "kernels.h"
#include "selecting_parts.h"
#include "test_device.h"
#include "values.h"

using namespace torchclip::cuda;
using torchclip::test::first_difference;
using torchclip::test::values;

namespace {

constexpr std::int64_t kDim = 50;  // is padded
constexpr ResidentOptions kPrefilter{0, 1, 32768}, kScan{0, std::numeric_limits<std::int64_t>::max(), 32768};

// The tests' device, which counts what a search asks of it.
class CountingDevice final : public ForwardingDevice {
 public:
  struct Count {
    int launches = 0, sent = 0, received = 0, waits = 0, synchronous_copies = 0;
  };

  Stream stream() override {
    ++count.launches;  // each launch asks for the stream
    return ForwardingDevice::stream();
  }
  void upload(void* to, const void* from, std::size_t bytes) override {
    ++count.synchronous_copies;
    ForwardingDevice::upload(to, from, bytes);
  }
  void download(void* to, const void* from, std::size_t bytes) override {
    ++count.synchronous_copies;
    ForwardingDevice::download(to, from, bytes);
  }
  void upload_async(int slot, const void* from, std::size_t bytes) override {
    ++count.sent;
    ForwardingDevice::upload_async(slot, from, bytes);
  }
  void end_batch(int slot, void* to, const void* from, std::size_t bytes) override {
    if (bytes > 0) ++count.received;
    ForwardingDevice::end_batch(slot, to, from, bytes);
  }
  void finish(int slot) override {
    ++count.waits;
    ForwardingDevice::finish(slot);
  }

  Count count;
};

struct Found {
  std::vector<std::int32_t> indices;
  std::vector<float> scores;
};

// Where two results differ, in words; empty where they are equal. NaN, the score after the last hit, equals NaN.
std::string difference(Found got, Found expected) {
  const auto indices = first_difference(got.indices, expected.indices);
  if (!indices.empty()) return "indices: " + indices;
  for (auto* scores : {&got.scores, &expected.scores}) {
    std::replace_if(
        scores->begin(), scores->end(), [](float score) { return std::isnan(score); }, -1e38f);
  }
  const auto scores = first_difference(got.scores, expected.scores);
  return scores.empty() ? "" : "scores: " + scores;
}

// The definition: sums in double, rounded to float32; NaN is no hit, equal scores are in the order of the rows.
Found expected_of(const std::vector<float>& base, const std::vector<float>& queries, std::int32_t k,
                  const AllowedRows& allowed = {}) {
  const auto rows = static_cast<std::int64_t>(base.size()) / kDim;
  Found found;
  for (std::size_t q = 0; q < queries.size() / kDim; ++q) {
    std::vector<float> scores;
    std::vector<std::size_t> order;  // of the rows that are hits
    for (std::int64_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (std::int64_t i = 0; i < kDim; ++i) {
        sum += static_cast<double>(base[static_cast<std::size_t>(r * kDim + i)]) *
               static_cast<double>(queries[q * kDim + static_cast<std::size_t>(i)]);
      }
      scores.push_back(static_cast<float>(sum));
      if (!std::isnan(sum) && allowed.passes(r)) order.push_back(scores.size() - 1);
    }
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return scores[a] > scores[b]; });
    for (std::size_t i = 0; i < static_cast<std::size_t>(k); ++i) {
      const bool is_hit = i < order.size();
      found.indices.push_back(is_hit ? static_cast<std::int32_t>(order[i]) : -1);
      found.scores.push_back(is_hit ? scores[order[i]] : NAN);
    }
  }
  return found;
}

Found found_by(ResidentRows& rows, const std::vector<float>& queries, std::int32_t k, const AllowedRows& allowed = {}) {
  const auto count = static_cast<std::int64_t>(queries.size()) / kDim;
  Found found{std::vector<std::int32_t>(static_cast<std::size_t>(count * k)), {}};
  found.scores.resize(found.indices.size());
  rows.search({queries.data(), count, k, allowed.bits, allowed.rows}, found.indices.data(), found.scores.data());
  return found;
}

// Both ways to search `base` against the definition. Returns how the queries were answered with the int8 copy.
ResidentCounts check_search(const std::vector<float>& base, const std::vector<float>& queries, std::int32_t k,
                            const AllowedRows& allowed = {}) {
  const auto count = static_cast<std::int64_t>(base.size()) / kDim;
  const auto device = test_device();
  ResidentRows by_int8(*device, kDim, kPrefilter), by_scan(*device, kDim, kScan);
  const auto expected = expected_of(base, queries, k, allowed);
  for (auto* rows : {&by_int8, &by_scan}) {
    rows->add(base.data(), count);
    CAPTURE(k);
    CAPTURE(rows == &by_int8);
    CHECK(difference(found_by(*rows, queries, k, allowed), expected) == "");
  }
  CHECK(by_scan.counts().prefiltered == 0);
  return by_int8.counts();
}

}  // namespace

TEST_CASE("random rows: the hits are those of the definition, for any k and number of queries") {
  const auto base = values(2100 * kDim, 1);
  for (const std::int32_t k : {1, 10, 1024}) {
    const auto counts = check_search(base, values(kDim, 2), k);
    CHECK(counts.prefiltered == 1);
  }
  for (const std::size_t queries : {3u, 17u}) {
    const auto counts = check_search(base, values(queries * kDim, 3), 5);
    CHECK(counts.prefiltered == queries);
    CHECK(counts.scanned == 0);
  }
}

TEST_CASE("as many hits as rows") {
  const auto base = values(kMostK * kDim, 4);
  check_search(base, values(2 * kDim, 5), kMostK);
  check_search(values(kDim, 4), values(2 * kDim, 5), 1);
}

TEST_CASE("equal scores are in the order of the rows") {
  auto base = values(900 * kDim, 6);
  for (std::int64_t r = 1; r < 900; r += 2) {  // every other row is one of three
    std::copy_n(base.begin() + r % 6 / 2 * kDim, kDim, base.begin() + r * kDim);
  }
  for (const std::int32_t k : {1, 151, 500}) {
    check_search(base, {base.begin(), base.begin() + 2 * kDim}, k);
  }
}

TEST_CASE("rows that int8 does not tell apart are in the order of their exact scores") {
  // Each row is the query with one value changed by less than a quarter of a step, in falling order of the scores of
  // rows that are found last by their numbers.
  const auto query = values(kDim, 7);
  std::vector<float> base;
  for (std::int64_t r = 0; r < 1000; ++r) {
    base.insert(base.end(), query.begin(), query.end());
    base[static_cast<std::size_t>(r * kDim + r % kDim)] += static_cast<float>(r * 7919 % 1000) * 1e-6f - 5e-4f;
  }
  for (const std::int32_t k : {1, 10, 300}) check_search(base, query, k);
}

TEST_CASE("the best row is found though int8 scores all others higher") {
  // In steps of the row's scale, each value of the best row is 40 and a margin, which int8 drops. Those of the others
  // are 39.51 and 40.51 in turn, which it rounds up: to 40.5 on average instead of 40.01.
  constexpr float kStep = 1.0f / 127;
  const std::vector<float> query(kDim, 1.0f);
  for (const float margin : {0.49f, 0.3f, 0.1f}) {
    CAPTURE(margin);
    std::vector<float> base;
    for (std::int64_t r = 0; r < 600; ++r) {
      base.push_back(1);  // makes the scale one step
      for (std::int64_t i = 1; i < kDim; ++i) {
        const float other = i % 2 == 0 ? 40.51f : 39.51f;
        base.push_back(kStep * (r == 411 ? 40 + margin : other));
      }
    }
    CHECK(expected_of(base, query, 1).indices[0] == 411);
    for (const std::int32_t k : {1, 7}) check_search(base, query, k);
  }
}

TEST_CASE("rows and queries that are no numbers, infinite, tiny or huge") {
  auto base = values(500 * kDim, 8);
  const auto set = [&](std::int64_t row, std::int64_t column, float x) {
    base[static_cast<std::size_t>(row * kDim + column)] = x;
  };
  for (std::int64_t r = 0; r < 500; r += 9) set(r, r % kDim, NAN);
  set(20, 3, INFINITY);
  set(21, 3, -INFINITY);
  set(22, 3, INFINITY);
  set(22, 4, INFINITY);
  set(23, 5, 1e30f);
  for (std::int64_t i = 0; i < kDim; ++i) set(24, i, 1e-30f);
  for (std::int64_t i = 0; i < kDim; ++i) set(25, i, 0.0f);
  for (const std::int32_t k : {1, 10, 500}) {
    const auto counts = check_search(base, values(2 * kDim, 9), k);
    CHECK(counts.prefiltered == 2);
  }
  auto queries = values(6 * kDim, 10);
  queries[0] = NAN;
  queries[kDim] = INFINITY;
  std::fill_n(queries.begin() + 2 * kDim, kDim, 0.0f);
  for (std::int64_t i = 0; i < kDim; ++i) queries[static_cast<std::size_t>(3 * kDim + i)] *= 1e30f;
  for (std::int64_t i = 0; i < kDim; ++i) queries[static_cast<std::size_t>(4 * kDim + i)] *= 1e-30f;
  const auto counts = check_search(base, queries, 12);
  CHECK(counts.scanned == 4);  // a query of zeros has bounds
}

TEST_CASE("with too many candidates all rows are scored, for the queries that have them alone") {
  auto base = values(2000 * kDim, 11);
  for (std::int64_t r = 0; r < 700; ++r) std::copy_n(base.begin(), kDim, base.begin() + r * kDim);
  std::vector<float> queries(base.begin(), base.begin() + kDim);
  const auto others = values(3 * kDim, 12);
  queries.insert(queries.end(), others.begin(), others.end());
  const auto device = test_device();
  ResidentRows rows(*device, kDim, {0, 1, 500});
  rows.add(base.data(), 2000);
  CHECK(difference(found_by(rows, queries, 10), expected_of(base, queries, 10)) == "");
  CHECK(rows.counts().scanned == 1);
  CHECK(rows.counts().prefiltered == 3);
}

TEST_CASE("a filter leaves out rows") {
  const auto base = values(1000 * kDim, 13), queries = values(2 * kDim, 14);
  for (const int every : {2, 200}) {
    std::vector<std::uint8_t> bits(100);  // fewer than there are rows
    for (std::size_t row = 0; row < 800; row += static_cast<std::size_t>(every)) {
      bits[row / 8] = static_cast<std::uint8_t>(bits[row / 8] | 1 << row % 8);
    }
    CAPTURE(every);
    for (const std::int32_t k : {1, 20}) check_search(base, queries, k, {bits.data(), 800});
  }
  const std::vector<std::uint8_t> none(125);
  check_search(base, queries, 3, {none.data(), 1000});
}

TEST_CASE("rows that are added in parts, in blocks of any size, are found as those that come at once") {
  const auto base = values(1000 * kDim, 15), queries = values(kDim, 16);
  const auto expected = expected_of(base, queries, 20);
  for (const std::int64_t block : {0, 100, 640}) {
    for (const std::int64_t part : {333, 37}) {
      CAPTURE(block);
      CAPTURE(part);
      const auto device = test_device();
      ResidentRows rows(*device, kDim, {block, 1, 32768});
      for (std::int64_t first = 0; first < 1000; first += part) {
        rows.add(base.data() + first * kDim, std::min(part, 1000 - first));
      }
      CHECK(rows.rows() == 1000);
      CHECK(difference(found_by(rows, queries, 20), expected) == "");
      CHECK(rows.counts().prefiltered == 1);
    }
  }
}

TEST_CASE("rows for which there is no room are not added, and the others are still found") {
  const auto base = values(4000 * kDim, 17), queries = values(2 * kDim, 18);
  const auto device = test_device(std::uint64_t{1} << 20);
  if (!device) return;  // a GPU
  ResidentRows rows(*device, kDim, {256, 1, 500});
  rows.add(base.data(), 300);
  const std::uint64_t before = rows.bytes();
  const auto outcome = torchclip::test::outcome_of([&] { rows.add(base.data() + 300 * kDim, 3700); });
  CHECK(outcome == TORCHCLIP_E_OUT_OF_MEMORY);
  CHECK(rows.rows() == 300);
  CHECK(rows.bytes() == before);
  CHECK(difference(found_by(rows, queries, 5), expected_of({base.begin(), base.begin() + 300 * kDim}, queries, 5)) ==
        "");
  rows.add(base.data() + 300 * kDim, 100);
  CHECK(difference(found_by(rows, queries, 5), expected_of({base.begin(), base.begin() + 400 * kDim}, queries, 5)) ==
        "");
}

TEST_CASE("where the device has no room for the scores of all queries, fewer are searched at a time") {
  const auto base = values(3000 * kDim, 19), queries = values(16 * kDim, 20);
  const auto device = test_device(std::uint64_t{1} << 20);
  if (!device) return;  // a GPU
  ResidentRows rows(*device, kDim, {256, 1, 500});
  rows.add(base.data(), 3000);
  CHECK(rows.bytes() + 16 * 3000 * 4 > (std::uint64_t{1} << 20));
  CHECK(difference(found_by(rows, queries, 5), expected_of(base, queries, 5)) == "");
}

TEST_CASE("the memory of rows is given back with them") {
  const auto device = test_device();
  std::uint64_t before = 0;
  for (int i = 0; i < 2; ++i) {  // the device keeps the memory through which the first search sent its query
    const auto base = values(200 * kDim, 19);
    ResidentRows rows(*device, kDim);
    rows.add(base.data(), 200);
    found_by(rows, values(kDim, 20), 3);
    CHECK(rows.bytes() >= 200 * 64 * 5);
    if (is_host_device() && i > 0) CHECK(device->counts().reserved_bytes == before + rows.bytes() + sizeof(RowBlock));
    before = device->counts().reserved_bytes - rows.bytes() - sizeof(RowBlock);
  }
  if (is_host_device()) CHECK(device->counts().reserved_bytes == before);
}

TEST_CASE("a search is one copy to the device, one from it, and a few launches, for any number of blocks") {
  const auto base = values(4000 * kDim, 21), queries = values(16 * kDim, 22);
  for (const std::int64_t block : {0, 320}) {
    for (const auto& [options, launches] : {std::pair{kPrefilter, 5}, {kScan, 2}}) {
      CAPTURE(block);
      CAPTURE(launches);
      CountingDevice device;
      ResidentOptions how = options;
      how.block_rows = block;
      ResidentRows rows(device, kDim, how);
      rows.add(base.data(), 4000);
      device.count = {};
      found_by(rows, queries, 10);
      CHECK(device.count.launches == launches);
      CHECK(device.count.sent == 1);
      CHECK(device.count.received == 1);
      CHECK(device.count.waits == 1);
      CHECK(device.count.synchronous_copies == 0);
    }
  }
}

TEST_CASE("the selection has a block for each multiprocessor, and each block many columns") {
  constexpr std::int64_t kMultiprocessors = 132;
  for (const std::int64_t queries : {1, 16}) {
    const auto parts = selecting_parts(1'000'000, queries, 10, kMultiprocessors);
    CHECK(parts * queries >= kMultiprocessors);
    CHECK(1'000'000 / parts >= 4096);
  }
  CHECK(selecting_parts(31'250, 1, 10, kMultiprocessors) == 7);
  CHECK(selecting_parts(1'000'000, 1, 1024, kMultiprocessors) == 64);
  CHECK(selecting_parts(100, 16, 10, kMultiprocessors) == 1);
}
