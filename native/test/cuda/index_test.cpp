// An index of the core whose rows are on a device, through the table of the CUDA library, against the same index on the
// CPU.
#include "search/index.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "files.h"
#include "index_search.h"
#include "search/gpu_rows.h"
#include "test_device.h"
#include "test_table.h"
#include "values.h"

using namespace torchclip::core;
using namespace torchclip::test;
using torchclip::cuda::has_test_rows;
using torchclip::cuda::test_table;

namespace {

constexpr std::int64_t kDim = 40, kRows = 2000;
constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

// Where two results differ, in words. Scores of different orders of summation may differ in their last bits.
std::string difference(const Found& got, const Found& expected) {
  const auto indices = first_difference(got.indices, expected.indices);
  if (!indices.empty()) return "indices: " + indices;
  for (std::size_t i = 0; i < got.scores.size(); ++i) {
    const bool both_end = std::isnan(got.scores[i]) && std::isnan(expected.scores[i]);
    if (!both_end && !(std::abs(got.scores[i] - expected.scores[i]) < 1e-4f)) return "score " + std::to_string(i);
  }
  return "";
}

std::unique_ptr<GpuRows> rows_on_device(std::uint64_t limit = kUnlimited) {
  return std::make_unique<GpuRows>(test_table({limit}), 0, kDim);
}

// Bits of every third row.
std::vector<std::uint8_t> every_third() {
  std::vector<std::uint8_t> bits(kRows / 8);
  for (std::size_t row = 0; row < kRows; row += 3) {
    bits[row / 8] = static_cast<std::uint8_t>(bits[row / 8] | 1 << row % 8);
  }
  return bits;
}

}  // namespace

TEST_CASE("an index on a device finds what it finds on the CPU, with rows that are added later") {
  auto base = values(kRows * kDim, 1);
  base[5 * kDim] = std::numeric_limits<float>::quiet_NaN();
  const auto queries = values(20 * kDim, 2);
  const auto bits = every_third();
  Index on_cpu(DType::f32, kDim), on_device(DType::f32, kDim);
  for (auto* index : {&on_cpu, &on_device}) index->add(base.data(), kRows - 300);
  on_device.place_on(rows_on_device());
  CHECK(on_device.gpu_bytes() >= (kRows - 300) * kDim * 5);
  for (const std::int64_t added : {0, 1, 299}) {
    for (auto* index : {&on_cpu, &on_device}) index->add(base.data() + index->rows() * kDim, added);
    CAPTURE(added);
    for (const std::int32_t k : {1, 30}) {
      CHECK(difference(search(on_device, queries, k), search(on_cpu, queries, k)) == "");
      const RowFilter filter{bits.data(), kRows};
      CHECK(difference(search(on_device, queries, k, filter), search(on_cpu, queries, k, filter)) == "");
    }
  }
}

TEST_CASE("an index that was empty when it was placed on a device") {
  const auto base = values(9 * kDim, 3);
  Index index(DType::f32, kDim);
  index.place_on(rows_on_device());
  CHECK(outcome_of([&] { search(index, base, 1); }) == TORCHCLIP_E_ARGUMENT);
  index.add(base.data(), 9);
  CHECK(search(index, {base.begin() + 4 * kDim, base.begin() + 5 * kDim}, 1).indices[0] == 4);
}

TEST_CASE("a mapped file's rows are searched on a device") {
  const auto base = values(kRows * kDim, 4), queries = values(3 * kDim, 5);
  const TemporaryFile file;
  file.write(npy_file(base, kDim));
  const auto mapped = Index::open_npy(file.path());
  mapped->place_on(rows_on_device());
  Index on_cpu(DType::f32, kDim);
  on_cpu.add(base.data(), kRows);
  CHECK(difference(search(*mapped, queries, 7), search(on_cpu, queries, 7)) == "");
}

TEST_CASE("more rows than a device finds are found by the CPU") {
  const auto base = values(kRows * kDim, 6), query = values(kDim, 7);
  Index on_cpu(DType::f32, kDim), on_device(DType::f32, kDim);
  for (auto* index : {&on_cpu, &on_device}) index->add(base.data(), kRows);
  on_device.place_on(rows_on_device());
  CHECK(difference(search(on_device, query, 1025), search(on_cpu, query, 1025)) == "");
}

TEST_CASE("an index of bf16 or int8 rows is not placed on a device") {
  for (const DType type : {DType::bf16, DType::s8}) {
    Index index(type, kDim);
    CHECK(outcome_of([&] { index.place_on(rows_on_device()); }) == TORCHCLIP_E_ARGUMENT);
    CHECK(!has_test_rows());
  }
}

TEST_CASE("a device that is not there, and a name that is none") {
  CHECK(outcome_of([] { GpuRows(test_table(), 1, kDim); }) == TORCHCLIP_E_CUDA_UNAVAILABLE);
  CHECK(outcome_of([] { GpuRows::on("cpu", kDim); }) == TORCHCLIP_E_ARGUMENT);
  CHECK(outcome_of([] { GpuRows::on("gpu", kDim); }) == TORCHCLIP_E_ARGUMENT);
  CHECK(outcome_of([] { GpuRows::on("cuda:99", kDim); }) == TORCHCLIP_E_CUDA_UNAVAILABLE);
}

TEST_CASE("rows that do not fit stay on the CPU, where the index goes on working") {
  if (!torchclip::cuda::is_host_device()) return;  // it cannot be limited
  const auto base = values(kRows * kDim, 8), query = values(kDim, 9);
  Index index(DType::f32, kDim), on_cpu(DType::f32, kDim);
  for (auto* each : {&index, &on_cpu}) each->add(base.data(), kRows);
  CHECK(outcome_of([&] { index.place_on(rows_on_device(100'000)); }) == TORCHCLIP_E_OUT_OF_MEMORY);
  CHECK(!has_test_rows());
  CHECK(index.gpu_bytes() == 0);
  CHECK(difference(search(index, query, 3), search(on_cpu, query, 3)) == "");
}

TEST_CASE("a search that finds no room fails, and the next one tries again") {
  if (!torchclip::cuda::is_host_device()) return;  // it cannot be limited
  const auto base = values(kRows * kDim, 10);
  Index index(DType::f32, kDim);
  index.add(base.data(), 500);
  index.place_on(rows_on_device(600'000));
  index.add(base.data() + 500 * kDim, kRows - 500);
  for (int i = 0; i < 2; ++i) {
    CHECK(outcome_of([&] { search(index, {base.begin(), base.begin() + kDim}, 3); }) == TORCHCLIP_E_OUT_OF_MEMORY);
  }
}

TEST_CASE("a closed index gives the device's memory back") {
  const auto base = values(100 * kDim, 11);
  Index index(DType::f32, kDim);
  index.add(base.data(), 100);
  index.place_on(rows_on_device());
  CHECK(has_test_rows());
  index.close();
  CHECK(!has_test_rows());
  CHECK(index.gpu_bytes() == 0);
  CHECK(outcome_of([&] { search(index, base, 1); }) == TORCHCLIP_E_CLOSED);
  CHECK(outcome_of([&] { index.place_on(rows_on_device()); }) == TORCHCLIP_E_CLOSED);
  CHECK(!has_test_rows());
}
