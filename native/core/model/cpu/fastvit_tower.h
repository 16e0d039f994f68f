// FastViT's MCi variants, the image encoders of MobileCLIP (lib/models/architectures/image-fastvit.ts).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/cpu/conv_feed_forward.h"
#include "model/cpu/conv_gelu.h"
#include "model/cpu/pixel_attention.h"
#include "model/cpu/tower.h"

namespace torchclip::core {

// The parallel branches of each convolution, with their batch norms, become one convolution when the weights are
// loaded. The convolutions of the stem and between stages, which no residual goes around, squeeze-and-excitation and
// the projection are float32 in every precision. With int8 only the MLPs are quantised, and attention runs as bf16.
class FastvitTower : public ImageTower {
 public:
  FastvitTower(const Context& context, Precision precision, const Weights& weights, const Json& config,
               const PixelTable& pixels);
  void encode(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output, const Matrix& out,
              Cancel cancel) const override;
  std::size_t bytes() const override;
  Precision precision() const override { return precision_; }

 private:
  // Mixes the pixels by a depthwise convolution (RepMixer), or by attention; then the MLP.
  struct Block {
    DepthwiseConvolution mixer;
    PixelAttention attention;
    ConvFeedForward feed_forward;
  };
  // Halves the side of the features: a depthwise convolution, and one over the channels.
  struct Downsample {
    ConvGelu large;
    Linear point;
    explicit operator bool() const noexcept { return static_cast<bool>(point); }
  };
  struct Stage {
    Downsample downsample;
    DepthwiseConvolution positions;  // The input plus its position encoding.
    std::vector<Block> blocks;
  };
  void make_stem(const Context& context, const Weights& weights, std::int64_t width, bool scale);
  Stage make_stage(const Context& context, const Weights& weights, const Json& config, std::size_t number) const;
  // channels: of the features before it.
  Downsample make_downsample(const Context& context, const Weights& weights, const std::string& key,
                             std::int64_t channels, bool squeeze) const;
  Block make_block(const Context& context, const Weights& weights, const std::string& key, bool attends,
                   bool batch_norm) const;
  void make_head(const Context& context, const Weights& weights, std::int64_t channels, bool projects);

  void encode_chunk(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output,
                    const Matrix& out, Cancel cancel) const;
  // Returns the features after the stem and the first stages, after the stem, or after a stage, in the arena.
  Features run_early(const Context& context, Arena& arena, const std::uint8_t* pixels, std::int64_t images,
                     Cancel cancel) const;
  Features run_stem(const Context& context, Arena& arena, const std::uint8_t* pixels, std::int64_t images) const;
  Features run_stage(const Context& context, Arena& arena, const Stage& stage, const Features& in, Cancel cancel) const;
  // out: f32 [images * side^2, columns] for half the side.
  void halve(const Context& context, Arena& arena, const Downsample& downsample, const Features& in,
             const Matrix& out) const;
  // Writes the output of the features after the last stage to `out`.
  void run_head(const Context& context, Arena& arena, const Features& x, ImageOutput output, const Matrix& out) const;

  Precision precision_ = Precision::fp32;
  std::int64_t size_ = 0;
  PixelTable table_;
  Linear stem_;  // Over 3 x 3 pixels.
  Downsample second_stem_;
  std::vector<Stage> stages_;
  std::size_t early_stages_ = 0;  // The stages that run for a few images at a time.
  ConvGelu final_;
  Linear projection_;  // Without one, the means of the features are the embeddings.
};

}  // namespace torchclip::core
