#include "model/cpu/depthwise_convolution.h"

#include "base/item.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kMostLines = 7;

}  // namespace

DepthwiseConvolution::DepthwiseConvolution(const MergedConvolution& merged, std::int64_t channels, std::int64_t stride)
    : channels_(channels), kernel_(merged.kernel()), stride_(stride) {
  bias_.resize(static_cast<std::size_t>(merged.columns()));
  const std::int64_t taps = kernel_ * kernel_;
  const auto places = order();
  weights_.resize(places.size() * static_cast<std::size_t>(taps));
  for (std::int64_t place = 0; place < columns(); ++place) {
    const std::int64_t filter = place / channels_, channel = place % channels_;
    const std::int64_t column = item(places, place);
    item(bias_, place) = static_cast<float>(merged.bias(column));
    for (std::int64_t tap = 0; tap < taps; ++tap) {
      const std::int64_t to = (filter * taps + tap) * channels_ + channel;
      item(weights_, to) = static_cast<float>(merged.weight(column, tap, 0));
    }
  }
}

std::vector<std::int64_t> DepthwiseConvolution::order() const {
  const std::int64_t filters = columns() / channels_;
  std::vector<std::int64_t> places;
  for (std::int64_t i = 0; i < columns(); ++i) places.push_back(i % channels_ * filters + i / channels_);
  return places;
}

void DepthwiseConvolution::run_lines(const Kernels& kernels, const Features& in, std::int64_t begin, std::int64_t count,
                                     const Matrix& out) const {
  const std::int64_t next = side(in.side), filters = columns() / channels_;
  const float* lines[kMostLines];
  DepthwiseLine line;
  line.kernel = kernel_;
  line.stride = stride_;
  line.lines = lines;
  line.width = in.side;
  line.channels = channels_;
  line.ldo = out.stride;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t image = (begin + i) / next, top = (begin + i) % next * stride_ - kernel_ / 2;
    for (std::int64_t k = 0; k < kernel_; ++k) {
      const bool outside = top + k < 0 || top + k >= in.side;
      lines[k] = outside ? nullptr : in.pixels.row<float>((image * in.side + top + k) * in.side);
    }
    for (std::int64_t f = 0; f < filters; ++f) {
      line.weights = weights_.data() + f * kernel_ * kernel_ * channels_;
      line.bias = bias_.data() + f * channels_;
      line.out = out.row<float>(i * next) + f * channels_;
      kernels.depthwise(line);
    }
  }
}

void DepthwiseConvolution::run(const Context& context, const Features& in, const Matrix& out) const {
  const std::int64_t next = side(in.side);
  in_lines(context, out.rows / next, next, [&](std::int64_t begin, std::int64_t count, int) {
    run_lines(context.kernels, in, begin, count, out.row_slice(begin * next, count * next));
  });
}

}  // namespace torchclip::core
