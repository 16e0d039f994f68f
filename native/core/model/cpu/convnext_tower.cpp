#include "model/cpu/convnext_tower.h"

#include <algorithm>
#include <utility>

#include "model/cpu/chunking.h"
#include "model/cpu/folded_convolution.h"
#include "model/cpu/pixel_taps.h"
#include "model/cpu/projection.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kChunkImages = 8;
constexpr Window kStem{4, 4, 0};
constexpr std::int64_t kBlockKernel = 7;
constexpr std::size_t kEarlyStages = 2;

// A convolution with a bias, as a Linear layer over its taps.
Linear whole_convolution(const Context& context, Precision precision, const Weights& weights, const std::string& key) {
  const auto f = folded(weights, key, "");
  return Linear(context, precision, f.weights.data(), need(weights, key + ".bias").data, f.columns,
                f.taps * f.channels);
}

ConvFeedForward make_block(const Context& context, Precision precision, const Weights& weights, const std::string& key,
                           float eps) {
  const std::int64_t width = need(weights, key + ".conv_dw.weight").rows();
  MergedConvolution merged(width, 1, kBlockKernel);
  merged.add(weights, key + ".conv_dw", "");
  return ConvFeedForward(context, precision, weights, DepthwiseConvolution(merged, width, 1),
                         LayerNorm(weights, key + ".norm", eps), key + ".mlp", need(weights, key + ".gamma"));
}

}  // namespace

bool ConvnextTower::supports(const Json& config) {
  const auto& widths = config["widths"].items();
  return std::all_of(widths.begin(), widths.end(),
                     [](const Json& width) { return static_cast<std::int64_t>(width.number()) % 2 == 0; });
}

ConvnextTower::ConvnextTower(const Context& context, Precision precision, const Weights& weights, const Json& config,
                             const PixelTable& pixels)
    : precision_(precision), size_(static_cast<std::int64_t>(config["imageSize"].number())), table_(pixels) {
  const auto eps = static_cast<float>(config["eps"].number());
  stem_ = whole_convolution(context, without_int8(precision_), weights, "visual.stem.0");
  stem_norm_ = LayerNorm(weights, "visual.stem.1", eps);
  const auto& depths = config["depths"].items();
  for (std::size_t s = 0; s < depths.size(); ++s) {
    stages_.push_back(make_stage(context, weights, s, static_cast<std::int64_t>(depths[s].number()), eps));
  }
  head_norm_ = LayerNorm(weights, "visual.head.norm", eps);
  make_head(context, weights, config["head"].text() == "mlp");
}

ConvnextTower::Stage ConvnextTower::make_stage(const Context& context, const Weights& weights, std::size_t number,
                                               std::int64_t depth, float eps) const {
  const std::string key = "visual.stages." + std::to_string(number);
  Stage stage;
  if (number > 0) {
    stage.norm = LayerNorm(weights, key + ".downsample.0", eps);
    stage.downsample = whole_convolution(context, without_int8(precision_), weights, key + ".downsample.1");
  }
  for (std::int64_t b = 0; b < depth; ++b) {
    stage.blocks.push_back(make_block(context, precision_, weights, key + ".blocks." + std::to_string(b), eps));
  }
  return stage;
}

void ConvnextTower::make_head(const Context& context, const Weights& weights, bool mlp) {
  if (mlp) hidden_ = linear_of(context, Precision::fp32, weights, "visual.project.mlp.fc1");
  projection_ = linear_of(context, Precision::fp32, weights, mlp ? "visual.project.mlp.fc2" : "visual.project.proj");
}

std::size_t ConvnextTower::bytes() const {
  std::size_t n = stem_.bytes() + hidden_.bytes() + projection_.bytes();
  for (const auto& stage : stages_) {
    n += stage.downsample.bytes();
    for (const auto& block : stage.blocks) n += block.bytes();
  }
  return n;
}

void ConvnextTower::encode(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output,
                           const Matrix& out, Cancel cancel) const {
  in_image_chunks(pixels, size_, out, kChunkImages, [&](const std::uint8_t* chunk, const Matrix& chunk_out) {
    encode_chunk(context, arena, chunk, output, chunk_out, cancel);
  });
}

void ConvnextTower::encode_chunk(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output,
                                 const Matrix& out, Cancel cancel) const {
  const Arena::Scope scope(arena);
  Features x = run_early(context, arena, pixels, out.rows, cancel);
  for (std::size_t s = kEarlyStages; s < stages_.size(); ++s) x = run_stage(context, arena, stages_[s], x, cancel);
  const Matrix pooled = arena.dense(out.rows, x.pixels.columns);
  mean_pixels(context, x.pixels, pooled);
  head_norm_.normalize(context, pooled, pooled);
  if (output == ImageOutput::pooled || !hidden_) {
    return project(context, nullptr, projection_for(output, projection_), pooled, out);
  }
  const Matrix hidden = arena.dense(out.rows, hidden_.columns());
  hidden_.multiply(context, pooled, hidden, {.activation = Activation::gelu});
  projection_.multiply(context, hidden, out);
}

Features ConvnextTower::run_early(const Context& context, Arena& arena, const std::uint8_t* pixels, std::int64_t images,
                                  Cancel cancel) const {
  const std::int64_t side = kStem.side(size_) / 2;  // Of the features after the second stage.
  const Features all{arena.dense(images * side * side, stages_[1].downsample.columns()), side};
  in_image_groups(context, arena, all, [&](std::int64_t begin, std::int64_t count) {
    Features x = run_stem(context, arena, pixels + begin * size_ * size_ * 3, count);
    for (std::size_t s = 0; s < kEarlyStages; ++s) x = run_stage(context, arena, stages_[s], x, cancel);
    return x;
  });
  return all;
}

Features ConvnextTower::run_stem(const Context& context, Arena& arena, const std::uint8_t* pixels,
                                 std::int64_t images) const {
  const std::int64_t side = kStem.side(size_);
  const Features features{arena.dense(images * side * side, stem_.columns()), side};
  const Arena::Scope scope(arena);
  const Matrix taps = arena.matrix(features.pixels.rows, stem_.inner(), stem_.type());
  pixel_taps(context, table_, pixels, size_, kStem, taps);
  stem_.multiply(context, taps, features.pixels);
  stem_norm_.normalize(context, features.pixels, features.pixels);
  return features;
}

Features ConvnextTower::run_stage(const Context& context, Arena& arena, const Stage& stage, const Features& in,
                                  Cancel cancel) const {
  Features x = in;
  if (stage.downsample) {
    const std::int64_t side = in.side / 2;
    x = {arena.dense(in.images() * side * side, stage.downsample.columns()), side};
    halve(context, arena, stage, in, x.pixels);
  }
  // Each block writes to the features that the block before it has read.
  Features next{arena.dense(x.pixels.rows, x.pixels.columns), x.side};
  for (const ConvFeedForward& block : stage.blocks) {
    check_cancel(cancel);
    block.run(context, arena, x, next.pixels);
    std::swap(x, next);
  }
  return x;
}

void ConvnextTower::halve(const Context& context, Arena& arena, const Stage& stage, const Features& in,
                          const Matrix& out) const {
  const Arena::Scope scope(arena);
  const std::int64_t half = in.side / 2, channels = in.pixels.columns;
  const Matrix taps = arena.matrix(out.rows, stage.downsample.inner(), stage.downsample.type());
  context.pool.parallel_for(in.images() * half, [&](std::int64_t task) {
    const std::int64_t image = task / half, y = task % half;
    // One call normalises every second pixel of a line, from which the same tap of all results comes.
    for (std::int64_t tap = 0; tap < 4; ++tap) {
      const Matrix to = taps.row_slice(task * half, half).column_slice(tap * channels, channels);
      const float* from = in.pixels.row<float>((image * in.side + 2 * y + tap / 2) * in.side + tap % 2);
      stage.norm.normalize_here(context.kernels, {from, half, channels, 2 * channels}, to);
    }
  });
  stage.downsample.multiply(context, taps, out);
}

}  // namespace torchclip::core
