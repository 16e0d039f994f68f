#include "model/cpu/fastvit_tower.h"

#include <algorithm>
#include <utility>

#include "model/cpu/chunking.h"
#include "model/cpu/merged_convolution.h"
#include "model/cpu/pixel_taps.h"
#include "model/cpu/projection.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kChunkImages = 8;
constexpr Window kStem{3, 2, 1};
constexpr std::size_t kEarlyStages = 2;

std::int64_t number_at(const Json& list, std::size_t i) { return static_cast<std::int64_t>(list.items()[i].number()); }

std::int64_t columns_of(const Weights& weights, const std::string& conv) {
  return need(weights, conv + ".weight").rows();
}

// The branches of a MobileOne block (see mobile_source in model/config/fastvit.cpp).
struct Branches {
  bool identity = false, scale = false;
};

// channels: the input channels of each filter, 1 if the convolution is depthwise.
MergedConvolution merged_block(const Weights& weights, const std::string& key, std::int64_t channels,
                               std::int64_t kernel, const Branches& branches) {
  const std::string conv = key + ".conv_kxk.0";
  MergedConvolution merged(columns_of(weights, conv + ".conv"), channels, kernel);
  if (branches.identity) merged.add_norm(weights, key + ".identity");
  if (branches.scale) merged.add(weights, key + ".conv_scale.conv", key + ".conv_scale.bn");
  merged.add(weights, conv + ".conv", conv + ".bn");
  return merged;
}

// x + gamma * (mixer(x) - norm(x)), of which each term is a depthwise convolution.
DepthwiseConvolution rep_mixer(const Weights& weights, const std::string& key, std::int64_t width) {
  auto merged = merged_block(weights, key + ".mixer", 1, 3, {.identity = true, .scale = true});
  merged.add_norm(weights, key + ".norm.identity", -1);
  merged.scale(need(weights, key + ".layer_scale.gamma", width, 1));
  merged.add_identity();
  return DepthwiseConvolution(merged, width, 1);
}

// x + conv(x)
DepthwiseConvolution position_encoding(const Weights& weights, const std::string& key) {
  const std::int64_t width = columns_of(weights, key);
  MergedConvolution merged(width, 1, 7);
  merged.add(weights, key, "");
  merged.add_identity();
  return DepthwiseConvolution(merged, width, 1);
}

ConvFeedForward feed_forward(const Context& context, Precision precision, const Weights& weights,
                             const std::string& key, const std::string& gamma) {
  const std::string conv = key + ".mlp.conv";
  const std::int64_t width = columns_of(weights, conv + ".conv");
  MergedConvolution merged(width, 1, 7);
  merged.add(weights, conv + ".conv", conv + ".bn");
  return ConvFeedForward(context, precision, weights, DepthwiseConvolution(merged, width, 1), {}, key + ".mlp",
                         need(weights, key + gamma, width, 1));
}

}  // namespace

FastvitTower::FastvitTower(const Context& context, Precision precision, const Weights& weights, const Json& config,
                           const PixelTable& pixels)
    : precision_(precision), size_(static_cast<std::int64_t>(config["imageSize"].number())), table_(pixels) {
  make_stem(context, weights, number_at(config["widths"], 0), config["stemScale"].boolean());
  const std::size_t stages = config["widths"].items().size();
  for (std::size_t s = 0; s < stages; ++s) stages_.push_back(make_stage(context, weights, config, s));
  early_stages_ = std::min(kEarlyStages, stages);
  make_head(context, weights, number_at(config["widths"], stages - 1), config["projection"].boolean());
}

void FastvitTower::make_stem(const Context& context, const Weights& weights, std::int64_t width, bool scale) {
  const auto first = merged_block(weights, "visual.stem.0", 3, kStem.kernel, {.scale = scale});
  const auto second = merged_block(weights, "visual.stem.1", 1, 3, {.scale = scale});
  const auto third = merged_block(weights, "visual.stem.2", width, 1, {.identity = true});
  stem_ = first.linear(context, Precision::fp32);
  second_stem_.large = ConvGelu(DepthwiseConvolution(second, width, 2), {});
  second_stem_.point = third.linear(context, Precision::fp32);
}

FastvitTower::Stage FastvitTower::make_stage(const Context& context, const Weights& weights, const Json& config,
                                             std::size_t number) const {
  const std::string key = "visual.stages." + std::to_string(number);
  Stage stage;
  if (config["downsample"].items()[number].boolean()) {
    const std::int64_t channels = number_at(config["widths"], number - 1);
    const bool squeeze = number_at(config["squeeze"], number) > 0;
    stage.downsample = make_downsample(context, weights, key + ".downsample.proj", channels, squeeze);
  }
  if (config["positions"].items()[number].boolean()) {
    stage.positions = position_encoding(weights, key + ".pos_emb.pos_enc");
  }
  const bool attends = config["attention"].items()[number].boolean(), batch_norm = config["norm"].text() == "batch";
  const std::int64_t depth = number_at(config["depths"], number);
  for (std::int64_t b = 0; b < depth; ++b) {
    const std::string block = key + ".blocks." + std::to_string(b);
    stage.blocks.push_back(make_block(context, weights, block, attends, batch_norm));
  }
  return stage;
}

FastvitTower::Downsample FastvitTower::make_downsample(const Context& context, const Weights& weights,
                                                       const std::string& key, std::int64_t channels,
                                                       bool squeeze) const {
  const std::string large = key + ".0.large_conv", small = key + ".0.small_conv";
  const std::int64_t width = columns_of(weights, large + ".conv");
  MergedConvolution merged(width, 1, 7);
  merged.add(weights, large + ".conv", large + ".bn");
  merged.add(weights, small + ".conv", small + ".bn");
  const auto point = merged_block(weights, key + ".1", width, 1, {.identity = true});
  Downsample down;
  const DepthwiseConvolution conv(merged, channels, 2);
  down.large = ConvGelu(conv, squeeze ? SqueezeExcite(context, weights, key + ".0.se", conv.order()) : SqueezeExcite());
  down.point = point.linear(context, Precision::fp32, conv.order());
  return down;
}

FastvitTower::Block FastvitTower::make_block(const Context& context, const Weights& weights, const std::string& key,
                                             bool attends, bool batch_norm) const {
  Block block;
  if (attends) {
    block.attention = PixelAttention(context, without_int8(precision_), weights, key, batch_norm);
    block.feed_forward = feed_forward(context, precision_, weights, key, ".layer_scale_2.gamma");
  } else {
    block.mixer = rep_mixer(weights, key + ".token_mixer", columns_of(weights, key + ".mlp.conv.conv"));
    block.feed_forward = feed_forward(context, precision_, weights, key, ".layer_scale.gamma");
  }
  return block;
}

void FastvitTower::make_head(const Context& context, const Weights& weights, std::int64_t channels, bool projects) {
  const std::string key = "visual.final_conv";
  const std::int64_t width = columns_of(weights, key + ".conv_kxk.0.conv");
  const auto merged = merged_block(weights, key, 1, 3, {.identity = width == channels, .scale = true});
  const DepthwiseConvolution conv(merged, channels, 1);
  const auto order = conv.order();
  final_ = ConvGelu(conv, SqueezeExcite(context, weights, key + ".se", order));
  if (!projects) return;
  const auto w = need(weights, "visual.project.weight");
  projection_ = Linear(context, Precision::fp32, reordered(w, order).data(), need(weights, "visual.project.bias").data,
                       w.rows(), width);
}

std::size_t FastvitTower::bytes() const {
  const auto of_downsample = [](const Downsample& d) { return d.large.bytes() + d.point.bytes(); };
  std::size_t n = stem_.bytes() + of_downsample(second_stem_) + final_.bytes() + projection_.bytes();
  for (const auto& stage : stages_) {
    n += of_downsample(stage.downsample) + stage.positions.bytes();
    for (const auto& b : stage.blocks) n += b.mixer.bytes() + b.attention.bytes() + b.feed_forward.bytes();
  }
  return n;
}

void FastvitTower::encode(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output,
                          const Matrix& out, Cancel cancel) const {
  in_image_chunks(pixels, size_, out, kChunkImages, [&](const std::uint8_t* chunk, const Matrix& chunk_out) {
    encode_chunk(context, arena, chunk, output, chunk_out, cancel);
  });
}

void FastvitTower::encode_chunk(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output,
                                const Matrix& out, Cancel cancel) const {
  const Arena::Scope scope(arena);
  Features x = run_early(context, arena, pixels, out.rows, cancel);
  for (std::size_t s = early_stages_; s < stages_.size(); ++s) x = run_stage(context, arena, stages_[s], x, cancel);
  check_cancel(cancel);
  run_head(context, arena, x, output, out);
}

Features FastvitTower::run_early(const Context& context, Arena& arena, const std::uint8_t* pixels, std::int64_t images,
                                 Cancel cancel) const {
  std::int64_t side = second_stem_.large.convolution().side(kStem.side(size_));
  std::int64_t width = second_stem_.point.columns();
  for (std::size_t s = 0; s < early_stages_; ++s) {
    const Downsample& downsample = stages_[s].downsample;
    if (!downsample) continue;
    side = downsample.large.convolution().side(side);
    width = downsample.point.columns();
  }
  const Features all{arena.dense(images * side * side, width), side};
  in_image_groups(context, arena, all, [&](std::int64_t begin, std::int64_t count) {
    Features x = run_stem(context, arena, pixels + begin * size_ * size_ * 3, count);
    for (std::size_t s = 0; s < early_stages_; ++s) x = run_stage(context, arena, stages_[s], x, cancel);
    return x;
  });
  return all;
}

Features FastvitTower::run_stem(const Context& context, Arena& arena, const std::uint8_t* pixels,
                                std::int64_t images) const {
  const std::int64_t half = kStem.side(size_), side = second_stem_.large.convolution().side(half);
  const Features out{arena.dense(images * side * side, second_stem_.point.columns()), side};
  const Arena::Scope scope(arena);
  const Features first{arena.dense(images * half * half, stem_.columns()), half};
  {
    const Arena::Scope taps_scope(arena);
    const Matrix taps = arena.matrix(first.pixels.rows, stem_.inner(), stem_.type());
    pixel_taps(context, table_, pixels, size_, kStem, taps);
    stem_.multiply(context, taps, first.pixels, {.activation = Activation::gelu});
  }
  halve(context, arena, second_stem_, first, out.pixels);
  return out;
}

void FastvitTower::halve(const Context& context, Arena& arena, const Downsample& downsample, const Features& in,
                         const Matrix& out) const {
  const Arena::Scope scope(arena);
  const Matrix convolved = arena.matrix(out.rows, downsample.point.inner(), downsample.point.type());
  downsample.large.run(context, arena, in, convolved);
  downsample.point.multiply(context, convolved, out, {.activation = Activation::gelu});
}

Features FastvitTower::run_stage(const Context& context, Arena& arena, const Stage& stage, const Features& in,
                                 Cancel cancel) const {
  Features x = in;
  if (const Downsample& downsample = stage.downsample) {
    const std::int64_t side = downsample.large.convolution().side(in.side);
    x = {arena.dense(in.images() * side * side, downsample.point.columns()), side};
    halve(context, arena, downsample, in, x.pixels);
  }
  // Convolutions write to the features that the layer before them has read.
  Features next{arena.dense(x.pixels.rows, x.pixels.columns), x.side};
  const auto convolve = [&](const DepthwiseConvolution& conv) {
    conv.run(context, x, next.pixels);
    std::swap(x, next);
  };
  if (stage.positions) convolve(stage.positions);
  for (const Block& block : stage.blocks) {
    check_cancel(cancel);
    if (block.mixer) convolve(block.mixer);
    if (block.attention) block.attention.run(context, arena, x);
    block.feed_forward.run(context, arena, x, next.pixels);
    std::swap(x, next);
  }
  return x;
}

void FastvitTower::run_head(const Context& context, Arena& arena, const Features& x, ImageOutput output,
                            const Matrix& out) const {
  const Arena::Scope scope(arena);
  const auto& conv = final_.convolution();
  const Matrix features = arena.dense(x.pixels.rows, conv.columns());
  final_.run(context, arena, x, features);
  const Matrix means = arena.dense(out.rows, conv.columns());
  mean_pixels(context, features, means);
  const Linear& projection = projection_for(output, projection_);
  if (projection) return projection.multiply(context, means, out);
  const auto order = conv.order();
  for (std::int64_t r = 0; r < out.rows; ++r) {
    for (std::size_t i = 0; i < order.size(); ++i) out.row<float>(r)[order[i]] = means.row<float>(r)[i];
  }
}

}  // namespace torchclip::core
