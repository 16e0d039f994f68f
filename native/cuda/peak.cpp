#include "peak.h"

#include <algorithm>
#include <vector>

namespace torchclip::cuda {

double gemm_peak(Device& device, std::int64_t side) {
  std::vector<Bf16> numbers(static_cast<std::size_t>(side * side));
  std::uint32_t seed = 1;
  for (auto& x : numbers) {
    x = from_float<Bf16>(static_cast<float>((seed = seed * 1664525u + 1013904223u) >> 8) / (1 << 23) - 1.0f);
  }
  const std::size_t bytes = numbers.size() * sizeof numbers[0];
  const auto a = device.allocate(bytes), b = device.allocate(bytes), out = device.allocate(bytes);
  device.upload(a.get(), numbers.data(), bytes);
  device.upload(b.get(), numbers.data(), bytes);
  GemmArgs args;
  args.a = a.get();
  args.weights = b.get();
  args.rows = args.inner = args.columns = args.stride = side;
  args.dtype = args.out_dtype = DType::bf16;
  args.out = out.get();
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    const double seconds = device.time(10, [&] { device.gemm(args); });
    best = std::max(best, 2.0 * static_cast<double>(side) * static_cast<double>(side * side) / seconds);
  }
  return best;
}

}  // namespace torchclip::cuda
