#include "model/cpu/pixel_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/item.h"
#include "model/cpu/attention.h"
#include "model/cpu/merged_convolution.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kHeadWidth = 32;
constexpr float kNormEps = 1e-5f;

// W (scale * x + shift) = (W scale) x + W shift
struct FoldedNorm {
  std::vector<float> weights, bias;
  FoldedNorm(const FixedBatchNorm& norm, const Tensor& matrix) {
    const std::int64_t inner = matrix.inner();
    for (std::int64_t n = 0; n < matrix.rows(); ++n) {
      double sum = 0;
      for (std::int64_t c = 0; c < inner; ++c) {
        const double w = matrix.data[n * inner + c];
        weights.push_back(static_cast<float>(w * item(norm.scale, c)));
        sum += w * item(norm.shift, c);
      }
      bias.push_back(static_cast<float>(sum));
    }
  }
};

}  // namespace

PixelAttention::PixelAttention(const Context& context, Precision precision, const Weights& weights,
                               const std::string& key, bool batch_norm)
    : attention_type_(attention_type(context, precision, kHeadWidth)) {
  const auto qkv = need(weights, key + ".token_mixer.qkv.weight");
  const std::int64_t width = qkv.inner();
  std::vector<float> scales(static_cast<std::size_t>(3 * width), 1.0f);
  std::fill_n(scales.begin(), width, 1.0f / std::sqrt(static_cast<float>(kHeadWidth)));
  if (batch_norm) {
    const FoldedNorm folded(FixedBatchNorm(weights, key + ".norm", width), qkv);
    qkv_ = Linear(context, precision, folded.weights.data(), folded.bias.data(), 3 * width, width, scales.data());
  } else {
    norm_ = LayerNorm(weights, key + ".norm", kNormEps);
    qkv_ = Linear(context, precision, qkv.data, nullptr, 3 * width, width, scales.data());
  }
  const auto out = need(weights, key + ".token_mixer.proj.weight", width, width);
  out_ = Linear(context, precision, out.data, need(weights, key + ".token_mixer.proj.bias", width, 1).data, width,
                width, need(weights, key + ".layer_scale_1.gamma", width, 1).data);
}

void PixelAttention::run(const Context& context, Arena& arena, const Features& x) const {
  const Arena::Scope scope(arena);
  const std::int64_t width = x.pixels.columns;
  const ConstMatrix input = norm_.gamma.data ? linear_input(context, arena, x.pixels, &norm_, qkv_.type())
                                             : as_linear_input(context, arena, x.pixels, qkv_.type());
  const Matrix qkv = arena.matrix(x.pixels.rows, 3 * width, attention_type_);
  qkv_.multiply(context, input, qkv);
  const Matrix attended = arena.matrix(x.pixels.rows, width, out_.type());
  const auto images = PackedSequences::uniform(x.images(), x.side * x.side);
  attend(context, arena, images, width / kHeadWidth, false, qkv, attended);
  out_.multiply(context, attended, x.pixels, {.residual = x.pixels});
}

}  // namespace torchclip::core
