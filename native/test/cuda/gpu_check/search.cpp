// Exact top-k on the device against the CPU's.
#include "search.h"

#include <cstdio>

#include "measure.h"
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

}  // namespace

void search_stage(Run& run) {
  const std::int64_t rows = run.options.dry ? 200 : 1'000'000;
  const auto base = test::values(static_cast<std::size_t>(rows * kDim), 1);
  const auto device = cuda::test_device();
  const cuda::ResidentRows resident(*device, base.data(), rows, kDim);
  for (const std::int64_t queries : {1, 16, 256, 1024}) {
    if (run.options.dry && queries > 16) break;
    const auto from = test::values(static_cast<std::size_t>(queries * kDim), 2);
    Hits found(queries), expected(queries);
    const auto search = [&] {
      cuda::top_k(*device, from.data(), queries, base.data(), rows, kDim, kBest, found.indices.data(),
                  found.scores.data());
    };
    const auto search_resident = [&] {
      resident.top_k(from.data(), queries, kBest, found.indices.data(), found.scores.data());
    };
    search_resident();
    const double seconds_resident = seconds_of(search_resident);
    search();
    const double seconds = seconds_of(search);
    const double on_cpu = seconds_of([&] {
      core::top_k(from.data(), queries, base.data(), rows, kDim, kBest, "cpu", expected.indices.data(),
                  expected.scores.data());
    });
    const double same = agreement(found, expected);
    std::printf(
        "top-%d of %lld x %d, %4lld queries: %8.2f ms from host memory, %8.2f ms resident (CPU %8.2f ms), "
        "same hits %.1f %%\n",
        kBest, static_cast<long long>(rows), kDim, static_cast<long long>(queries), 1e3 * seconds,
        1e3 * seconds_resident, 1e3 * on_cpu, 100 * same);
    run.report.add(Row("search")
                       .number("rows", rows)
                       .number("dim", std::int64_t{kDim})
                       .number("k", std::int64_t{kBest})
                       .number("queries", queries)
                       .number("milliseconds", 1e3 * seconds)
                       .number("residentMilliseconds", 1e3 * seconds_resident)
                       .number("cpuMilliseconds", 1e3 * on_cpu)
                       .number("agreement", same));
    run.report.expect(same == 1, "search", "top-k finds what the CPU finds");
  }
}

}  // namespace torchclip::gpu_check
