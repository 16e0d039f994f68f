// The way that a user's program takes: the core loads libtorchclip_cuda.so by its name and runs `tiny` and a search on
// the GPU. Skipped where there is none.
//   gpu_route_test ARTIFACT
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "model/gpu_library.h"
#include "model/gpu_model.h"
#include "model/runner.h"
#include "model_inputs.h"
#include "search/top_k.h"
#include "values.h"

using namespace torchclip::core;
using namespace torchclip::test;

namespace {

// Says why there is no GPU to test, where there is none.
bool is_without_gpu() {
  const std::string problem = cuda_problem();
  if (!problem.empty()) skip(problem);
  return !problem.empty();
}

Runner runner_on(const char* device, const char* precision) {
  RunnerOptions options;
  options.device = device;
  options.precision = precision;
  return Runner(arguments().at(0), options);
}

}  // namespace

TEST_CASE("the core finds torchclip's own kernels") {
  if (is_without_gpu()) return;
  CHECK(fast_cuda_problem() == "");
}

TEST_CASE("the GPU gives the embedding that the CPU gives: cosine > 0.9999 in fp16") {
  if (is_without_gpu()) return;
  Runner gpu = runner_on("cuda", "fp16"), cpu = runner_on("cpu", "fp32");
  CHECK(gpu.info().device == "cuda:0");
  CHECK(gpu.info().image_runner.substr(0, 9) == "fast fp16");
  const auto& info = cpu.info();
  const auto side = static_cast<std::size_t>(info.image_size);
  std::vector<std::uint8_t> pixels(side * side * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i / 300 * 7 + i % 90);
  std::vector<float> a(static_cast<std::size_t>(info.embed_dim)), b(a.size());
  gpu.encode_pixels(pixels.data(), 1, a.data(), true);
  cpu.encode_pixels(pixels.data(), 1, b.data(), true);
  double cosine = 0;
  for (std::size_t i = 0; i < a.size(); ++i) cosine += static_cast<double>(a[i]) * b[i];
  CHECK(1 - cosine < 1e-4);
}

TEST_CASE("a deterministic model times no GEMM, and a closed one gives its memory back to the driver") {
  if (is_without_gpu()) return;
  const GpuModel* model = nullptr;
  const auto made = [&](bool deterministic) {
    RunnerOptions options;
    options.device = "cuda";
    options.precision = "bf16";
    options.deterministic = deterministic;
    options.make_model = [&](const GpuModelSource& source) {
      auto gpu = make_cuda_model(source);
      model = gpu.get();
      return gpu;
    };
    return std::make_unique<Runner>(arguments().at(0), options);
  };
  const auto kept = made(true);
  const auto in = inputs_for(kept->info());
  encode(*kept, in);
  REQUIRE(model != nullptr);
  const GpuModel* deterministic = model;
  CHECK(deterministic->counts().timed_gemms == 0);
  const auto before = deterministic->counts().reserved;
  auto other = made(false);
  encode(*other, in);
  CHECK(model->counts().timed_gemms > 0);
  const auto during = deterministic->counts().reserved;
  CHECK(during > before);
  other.reset();
  CHECK(deterministic->counts().reserved < during);
  CHECK(deterministic->counts().reserved <= before);
}

TEST_CASE("a search on the GPU finds the rows that the CPU finds") {
  if (is_without_gpu()) return;
  constexpr std::int32_t kBest = 5;
  const auto base = values(1000 * 16, 1);
  std::vector<std::int32_t> here(kBest), there(kBest);
  std::vector<float> scores(kBest);
  top_k(base.data() + 16 * 7, 1, base.data(), 1000, 16, kBest, "cpu", here.data(), scores.data());
  top_k(base.data() + 16 * 7, 1, base.data(), 1000, 16, kBest, "cuda", there.data(), scores.data());
  CHECK(first_difference(there, here) == "");
}
