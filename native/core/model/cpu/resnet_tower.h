// CLIP's modified ResNet (lib/models/architectures/image-resnet.ts).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/cpu/attention.h"
#include "model/cpu/tower.h"
#include "model/cpu/winograd.h"

namespace torchclip::core {

// Batch norms are folded into the convolutions, which are matrix multiplications over pixels. int8 runs as bf16.
class ResnetTower : public ImageTower {
 public:
  ResnetTower(const Context& context, Precision precision, const Weights& weights, const Json& config,
              std::int64_t embed_dim, const PixelTable& pixels);
  void encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows, float* out,
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
  };
  struct Block {
    Linear conv1, conv3, skip;
    Convolution conv2;
    std::int64_t stride = 1;
  };
  // in: [images, side, side, channels] of the tower's element type; writes columns of `out` (float32 with Winograd's
  // algorithm).
  void convolve(const Context& context, Workspace& workspace, const Convolution& conv, const void* in,
                std::int64_t images, std::int64_t side, void* out, DType out_type) const;
  void encode_chunk(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t images,
                    float* out, Cancel cancel) const;
  void stem(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t images) const;
  void pool(const Context& context, Workspace& workspace, std::int64_t images, float* out) const;

  Precision precision_ = Precision::fp32;
  DType type_ = DType::f32;  // The element type of the linear layers' input.
  std::int64_t size_ = 0, width_ = 0, heads_ = 0, embed_dim_ = 0;
  PixelTable table_;
  Linear stem_;
  Convolution stem2_, stem3_;
  std::vector<Block> blocks_;
  Tensor positions_;
  Linear query_, projection_;
  PooledAttention attention_;
};

}  // namespace torchclip::core
