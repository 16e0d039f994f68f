// The way that a user's program takes: the core loads libtorchclip_cuda.so by its name and runs `tiny` and a search on
// the GPU. Skipped where there is none.
//   gpu_route_test ARTIFACT
#include <cmath>
#include <cstdio>
#include <vector>

#include "check.h"
#include "model/gpu_library.h"
#include "model/runner.h"
#include "search/top_k.h"

using namespace torchclip::core;

int main(int count, char** arguments) {
  if (count < 2) return 2;
  if (!cuda_problem().empty()) {
    std::printf("skipped: %s\n", cuda_problem().c_str());
    return 77;
  }
  std::printf("%s\n", fast_cuda_problem().c_str());
  CHECK(fast_cuda_problem().empty());
  RunnerOptions options;
  options.device = "cuda";
  options.precision = "fp16";
  Runner gpu(arguments[1], options);
  CHECK(gpu.info().device == "cuda:0" && gpu.info().image_runner.rfind("fast fp16", 0) == 0);
  options.device = "cpu";
  options.precision = "fp32";
  Runner cpu(arguments[1], options);
  const auto& info = cpu.info();
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(info.image_size) * info.image_size * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i / 300 * 7 + i % 90);
  std::vector<float> a(static_cast<std::size_t>(info.embed_dim)), b(a.size());
  gpu.encode_pixels(pixels.data(), 1, a.data(), true);
  cpu.encode_pixels(pixels.data(), 1, b.data(), true);
  double cosine = 0;
  for (std::size_t i = 0; i < a.size(); ++i) cosine += static_cast<double>(a[i]) * b[i];
  CHECK(cosine > 0.9999);

  std::vector<float> base(1000 * 16);
  std::uint32_t seed = 1;
  for (auto& x : base) x = static_cast<float>((seed = seed * 1664525u + 1013904223u) >> 8) / (1 << 23) - 1.0f;
  std::int32_t here[5], there[5];
  float scores[5];
  top_k(base.data() + 16 * 7, 1, base.data(), 1000, 16, 5, "cpu", here, scores);
  top_k(base.data() + 16 * 7, 1, base.data(), 1000, 16, 5, "cuda", there, scores);
  for (int i = 0; i < 5; ++i) CHECK(here[i] == there[i]);
  return torchclip::test::failures();
}
