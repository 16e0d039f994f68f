// ConvNeXt (lib/models/architectures/image-convnext.ts).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/cpu/conv_feed_forward.h"
#include "model/cpu/tower.h"

namespace torchclip::core {

// The convolutions of the stem and between stages, whose kernels are as large as their strides, are matrix
// multiplications over pixels, as are the MLPs of the blocks. With int8 only the MLPs are quantised, and these
// convolutions run as bf16; the head is float32.
class ConvnextTower : public ImageTower {
 public:
  // Returns whether the tower can run these settings: widths must be even.
  static bool supports(const Json& config);
  ConvnextTower(const Context& context, Precision precision, const Weights& weights, const Json& config,
                const PixelTable& pixels);
  void encode(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output, const Matrix& out,
              Cancel cancel) const override;
  std::size_t bytes() const override;
  Precision precision() const override { return precision_; }

 private:
  struct Stage {
    LayerNorm norm;     // Before the convolution that halves the side; the first stage has neither.
    Linear downsample;  // Over 2 x 2 pixels.
    std::vector<ConvFeedForward> blocks;
  };
  Stage make_stage(const Context& context, const Weights& weights, std::size_t number, std::int64_t depth,
                   float eps) const;
  void make_head(const Context& context, const Weights& weights, bool mlp);
  void encode_chunk(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output,
                    const Matrix& out, Cancel cancel) const;
  // Returns the features after the stem and the first stages, after the stem, or after a stage, in the arena.
  Features run_early(const Context& context, Arena& arena, const std::uint8_t* pixels, std::int64_t images,
                     Cancel cancel) const;
  Features run_stem(const Context& context, Arena& arena, const std::uint8_t* pixels, std::int64_t images) const;
  Features run_stage(const Context& context, Arena& arena, const Stage& stage, const Features& in, Cancel cancel) const;
  // Normalises the features and halves their side. out: f32 [images * (side / 2)^2, columns].
  void halve(const Context& context, Arena& arena, const Stage& stage, const Features& in, const Matrix& out) const;

  Precision precision_ = Precision::fp32;
  std::int64_t size_ = 0;
  PixelTable table_;
  Linear stem_;
  LayerNorm stem_norm_, head_norm_;
  std::vector<Stage> stages_;
  Linear hidden_, projection_;  // The head; without an MLP only the projection.
};

}  // namespace torchclip::core
