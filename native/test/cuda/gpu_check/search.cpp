// Exact top-k and similarity on the device against the CPU's.
#include "search.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <vector>

#include "measure.h"
#include "model_inputs.h"
#include "resident_rows.h"
#include "search/top_k.h"
#include "test_device.h"
#include "values.h"

namespace torchclip::gpu_check {
namespace {

constexpr std::int32_t kDim = 512, kBest = 10;

struct Hits {
  explicit Hits(std::int64_t queries)
      : indices(static_cast<std::size_t>(queries * kBest)), scores(static_cast<std::size_t>(queries * kBest)) {}
  std::vector<std::int32_t> indices;
  std::vector<float> scores;
};

// The share of hits that the two have alike. Rows whose scores differ by rounding alone may change places.
double agreement(const Hits& a, const Hits& b) {
  std::size_t same = 0;
  for (std::size_t i = 0; i < a.indices.size(); ++i) {
    if (a.indices[i] == b.indices[i] || std::abs(a.scores[i] - b.scores[i]) <= 1e-5f * std::abs(b.scores[i])) ++same;
  }
  return static_cast<double>(same) / static_cast<double>(a.indices.size());
}

// One search in the ways that there are.
struct Search {
  Search(Run& of, std::int64_t row_count)
      : run(of),
        rows(row_count),
        base(test::values(static_cast<std::size_t>(rows * kDim), 1)),
        by_int8(*device, kDim, {0, 1, cuda::ResidentOptions{}.most_candidates}),
        by_scan(*device, kDim, {0, rows + 1, 0}) {
    for (auto* resident : {&by_int8, &by_scan}) resident->add(base.data(), rows);
  }

  void measure(std::int64_t queries) {
    const auto from = test::values(static_cast<std::size_t>(queries * kDim), 2);
    Hits sent(queries), quick(queries), scanned(queries), expected(queries);
    const double from_host = seconds_of_later([&] {
      cuda::top_k(*device, from.data(), queries, base.data(), rows, kDim, kBest, sent.indices.data(),
                  sent.scores.data());
    });
    const auto before = by_int8.counts();
    const double int8 = seconds_of_later([&] { search(by_int8, from, quick); });
    const double scan = seconds_of_later([&] { search(by_scan, from, scanned); });
    const double on_cpu = seconds_of([&] {
      core::top_k(from.data(), queries, base.data(), rows, kDim, kBest, "cpu", expected.indices.data(),
                  expected.scores.data());
    });
    std::printf(
        "top-%d of %lld x %d, %4lld queries: %8.2f ms from host memory; on the device %8.2f ms by int8, %8.2f ms by "
        "all rows (CPU %8.2f ms)\n",
        kBest, static_cast<long long>(rows), kDim, static_cast<long long>(queries), 1e3 * from_host, 1e3 * int8,
        1e3 * scan, 1e3 * on_cpu);
    run.report.add(Row("search")
                       .number("rows", rows)
                       .number("dim", std::int64_t{kDim})
                       .number("k", std::int64_t{kBest})
                       .number("queries", queries)
                       .number("milliseconds", 1e3 * from_host)
                       .number("residentMilliseconds", 1e3 * int8)
                       .number("residentScanMilliseconds", 1e3 * scan)
                       .number("cpuMilliseconds", 1e3 * on_cpu)
                       .number("residentBytes", by_int8.bytes())
                       .number("agreement", agreement(sent, expected))
                       .number("residentAgreement", agreement(quick, expected)));
    run.report.expect(agreement(sent, expected) == 1, "search", "top-k finds what the CPU finds");
    run.report.expect(agreement(quick, expected) == 1, "search", "rows on the device: the hits are the CPU's");
    run.report.expect(quick.indices == scanned.indices && quick.scores == scanned.scores, "search",
                      "the int8 copy gives the bits that the scores of all rows give");
    run.report.expect(by_int8.counts().scanned == before.scanned, "search", "the int8 copy answers every query");
  }

  // The products of all pairs of queries and rows, of which the result is as large as the base or larger.
  void measure_similarity(std::int64_t queries, std::int64_t columns) {
    const auto from = test::values(static_cast<std::size_t>(queries * kDim), 2);
    std::vector<float> out(static_cast<std::size_t>(queries * columns)), expected(out.size());
    const double seconds = seconds_of_later(
        [&] { cuda::similarity(*device, from.data(), queries, base.data(), columns, kDim, out.data()); });
    const double on_cpu =
        seconds_of([&] { core::similarity(from.data(), queries, base.data(), columns, kDim, "cpu", expected.data()); });
    const double difference = test::largest_difference(expected, out);
    std::printf("similarity of %lld x %lld rows of %d: %8.2f ms from host memory (CPU %8.2f ms)\n",
                static_cast<long long>(queries), static_cast<long long>(columns), kDim, 1e3 * seconds, 1e3 * on_cpu);
    run.report.add(Row("search")
                       .text("what", "similarity")
                       .number("aRows", queries)
                       .number("bRows", columns)
                       .number("dim", std::int64_t{kDim})
                       .number("milliseconds", 1e3 * seconds)
                       .number("cpuMilliseconds", 1e3 * on_cpu)
                       .number("largestDifference", difference));
    run.report.expect(difference <= 1e-3, "search", "similarity gives what the CPU gives");
  }

 private:
  // The median of some calls. The first call makes what later ones find.
  double seconds_of_later(const std::function<void()>& work) const {
    work();
    const int calls = std::min(50, repeats_for(run, seconds_of(work), 0.2));
    std::vector<double> times(static_cast<std::size_t>(calls));
    for (auto& time : times) time = seconds_of(work);
    return percentile(times, 0.5);
  }

  static void search(cuda::ResidentRows& resident, const std::vector<float>& queries, Hits& hits) {
    resident.search({queries.data(), static_cast<std::int64_t>(queries.size()) / kDim, kBest}, hits.indices.data(),
                    hits.scores.data());
  }

  Run& run;
  const std::int64_t rows;
  const std::vector<float> base;
  const std::unique_ptr<cuda::Device> device = cuda::test_device();
  cuda::ResidentRows by_int8, by_scan;
};

}  // namespace

void search_stage(Run& run) {
  const bool dry = run.options.dry;
  Search search(run, dry ? 200 : 1'000'000);
  for (const std::int64_t queries : {1, 16, 256, 1024}) {
    if (dry && queries > 16) break;
    attempt(run, "search", "top-k of " + std::to_string(queries) + " queries", [&] { search.measure(queries); });
  }
  attempt(run, "search", "similarity", [&] { search.measure_similarity(dry ? 3 : 1000, dry ? 200 : 100'000); });
}

}  // namespace torchclip::gpu_check
