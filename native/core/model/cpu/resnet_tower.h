// CLIP's modified ResNet (lib/models/architectures/image-resnet.ts).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/cpu/features.h"
#include "model/cpu/pooled_attention.h"
#include "model/cpu/tower.h"
#include "model/cpu/winograd.h"

namespace torchclip::core {

// Batch norms are folded into the convolutions, which are matrix multiplications over pixels. int8 runs as bf16.
class ResnetTower : public ImageTower {
 public:
  ResnetTower(const Context& context, Precision precision, const Weights& weights, const Json& config,
              const PixelTable& pixels);
  void encode(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output, const Matrix& out,
              Cancel cancel) const override;
  std::size_t bytes() const override;
  Precision precision() const override { return precision_; }

 private:
  // A 3 x 3 convolution with ReLU: by Winograd's algorithm if the linear layers take float32, otherwise as a matrix
  // multiplication over nine taps.
  struct Convolution {
    WinogradConvolution fast;
    Linear plain;
    Convolution() = default;
    Convolution(const Context& context, Precision precision, const Weights& weights, const std::string& conv,
                const std::string& norm);
    std::size_t bytes() const { return fast.bytes() + plain.bytes(); }
    std::int64_t columns() const { return fast ? fast.columns() : plain.columns(); }
    // in: [images * side * side, channels] of the tower's element type; out: [images * side * side, columns], float32
    // with Winograd's algorithm. Both are without gaps.
    void run(const Context& context, Arena& arena, const ConstMatrix& in, std::int64_t side, const Matrix& out) const;
  };
  struct Block {
    Linear conv1, conv3, skip;
    Convolution conv2;
    std::int64_t stride = 1;
  };
  Block make_block(const Context& context, const Weights& weights, const std::string& key, bool first,
                   std::int64_t stride) const;
  void make_pool(const Context& context, const Weights& weights, const std::string& key);
  void encode_chunk(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output,
                    const Matrix& out, Cancel cancel) const;
  // Writes the features after the stem, f32 [images * (size / 4)^2, width], to `out`.
  void run_stem(const Context& context, Arena& arena, const std::uint8_t* pixels, const Matrix& out) const;
  // Returns the features after a block: x itself, which is overwritten, or new features in the arena.
  Features run_block(const Context& context, Arena& arena, const Block& block, const Features& x) const;
  // Attention pooling of x, whose query is the mean of all pixels. The pooled feature is that before c_proj.
  void pool(const Context& context, Arena& arena, const ConstMatrix& x, ImageOutput output, const Matrix& out) const;

  Precision precision_ = Precision::fp32;
  DType type_ = DType::f32;  // The element type of the linear layers' input.
  std::int64_t size_ = 0, width_ = 0, heads_ = 0;
  PixelTable table_;
  Linear stem_;
  Convolution stem2_, stem3_;
  std::vector<Block> blocks_;
  Tensor positions_;
  Linear query_, projection_;
  PooledAttention attention_;
};

}  // namespace torchclip::core
