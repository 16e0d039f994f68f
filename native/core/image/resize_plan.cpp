#include "image/resize_plan.h"

#include <utility>

#include "image/resize_kernel.h"

namespace torchclip::core {

ResizePlan plan_resize(std::int32_t width, std::int32_t height, std::int32_t channels, const Transform& transform) {
  const auto g = geometry(width, height, transform);
  const auto kernel = [&](std::int32_t in, std::int64_t out, std::int64_t begin, std::int32_t length) {
    return in == out ? copying_kernel(begin, length) : make_kernel(in, out, begin, length, transform.filter);
  };
  ResizeKernel kx = kernel(width, g.width, g.window.left, g.window.width);
  ResizeKernel ky = kernel(height, g.height, g.window.top, g.window.height);
  ResizePlan plan;
  auto& s = plan.shape;
  s = {width,
       height,
       channels,
       transform.size,
       g.window.width,
       g.window.height,
       g.left,
       g.top,
       0,
       0,
       kx.size,
       ky.size,
       vertical_first(width, height, g.width, g.height)};
  ResizeKernel& second = s.vertical_first ? kx : ky;
  const TouchedRange range = touched(second);
  s.first = range.first;
  s.count = range.last - range.first;
  for (auto& t : second.taps) t.first -= range.first;
  plan.x_taps = std::move(kx.taps);
  plan.y_taps = std::move(ky.taps);
  plan.x_weights = std::move(kx.weights);
  plan.y_weights = std::move(ky.weights);
  plan.fill = transform.fill;
  return plan;
}

}  // namespace torchclip::core
