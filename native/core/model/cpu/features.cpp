#include "model/cpu/features.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kChannelsOfTask = 64;

}  // namespace

void mean_pixels(const Context& context, const ConstMatrix& pixels, const Matrix& means) {
  const std::int64_t area = pixels.rows / means.rows;
  const std::int64_t blocks = (pixels.columns + kChannelsOfTask - 1) / kChannelsOfTask;
  context.pool.parallel_for(means.rows * blocks, [&](std::int64_t task) {
    const std::int64_t image = task / blocks, first = task % blocks * kChannelsOfTask;
    const std::int64_t count = std::min(kChannelsOfTask, pixels.columns - first);
    float sums[kChannelsOfTask] = {};
    for (std::int64_t p = 0; p < area; ++p) {
      const float* from = pixels.row<float>(image * area + p) + first;
      for (std::int64_t c = 0; c < count; ++c) sums[c] += from[c];
    }
    float* to = means.row<float>(image) + first;
    for (std::int64_t c = 0; c < count; ++c) to[c] = sums[c] / static_cast<float>(area);
  });
}

}  // namespace torchclip::core
