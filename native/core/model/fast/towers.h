// The fast runner's two towers: a Vision Transformer on uint8 pictures, and CLIP's text encoder on token ids of any
// lengths. Same weights, same settings (torchclip.json) as the generic runner, which is their reference in tests.
#pragma once

#include <memory>

#include "model/fast/transformer.h"

namespace torchclip::core {

// Attention pooling by one learned query (SigLIP): see mapPoolSource in lib/models/architectures/image-vit.ts.
struct MapPool {
  std::vector<float> query;  // [width], projected and scaled
  Linear keyValue, out, up, down;
  Norm norm;
};

// (v / 255 - mean) / std of each channel and byte, in the order of ToTensor and Normalize: the reference's bits.
struct PixelTable {
  float value[3][256];
  std::uint16_t brain[3][256];  // the same as bf16
  PixelTable(const double* mean, const double* std);
};

class ImageTower {
 public:
  // Null where the settings name something that only the generic runner does.
  static std::unique_ptr<ImageTower> make(const Context& context, Type type, const Weights& weights, const Json& config,
                                          std::int64_t embed_dim, const PixelTable& pixels);
  virtual ~ImageTower() = default;

  // pixels: uint8 [rows, size, size, 3]; out: float [rows, embed_dim], not normalised.
  virtual void encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows,
                      float* out, Cancel cancel) const = 0;
  virtual std::size_t bytes() const = 0;
  virtual Type type() const = 0;  // of its products; not always what was asked for
};

class VitTower : public ImageTower {
 public:
  VitTower(const Context& context, Type type, const Weights& weights, const VitSettings& settings,
           std::int64_t embed_dim, const PixelTable& pixels);
  void encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows, float* out,
              Cancel cancel) const override;
  std::size_t bytes() const override;
  Type type() const override { return type_; }

 private:
  void encode_chunk(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows,
                    float* out, Cancel cancel) const;
  void pool_map(const Context& context, Workspace& workspace, const Sequences& sequences, float* pooled) const;

  Type type_ = Type::f32, patchType_ = Type::f32;
  VitSettings settings_;
  std::int64_t embedDim_ = 0;
  PixelTable table_;
  VitEmbedding embedding_;  // without the patches' own weights
  Linear patches_, projection_;
  Norm preNorm_, postNorm_;
  Transformer transformer_;
  MapPool map_;
};

// CLIP's modified ResNet (lib/models/architectures/image-resnet.ts): batch norms are folded into the convolutions,
// which are products over pixels; int8 runs as bf16, or float32.
class ResnetTower : public ImageTower {
 public:
  ResnetTower(const Context& context, Type type, const Weights& weights, const Json& config, std::int64_t embed_dim,
              const PixelTable& pixels);
  void encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows, float* out,
              Cancel cancel) const override;
  std::size_t bytes() const override;
  Type type() const override { return type_; }

 private:
  struct Block {
    Linear conv1, conv2, conv3, skip;
    std::int64_t stride = 1;
  };
  void encode_chunk(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t images,
                    float* out, Cancel cancel) const;
  void stem(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t images) const;
  void pool(const Context& context, Workspace& workspace, std::int64_t images, float* out) const;

  Type type_ = Type::f32;
  std::int64_t size_ = 0, width_ = 0, heads_ = 0, embedDim_ = 0;
  PixelTable table_;
  Linear stem_[3];
  std::vector<Block> blocks_;
  Tensor positions_;
  Linear query_, keyValue_, projection_;
};

class TextTower {
 public:
  static std::unique_ptr<TextTower> make(const Context& context, Type type, const Weights& weights, const Json& config,
                                         std::int64_t embed_dim);

  // ids: int32 [rows, length]; out: float [rows, embed_dim], not normalised. Each row costs what its own length up to
  // the token that becomes the embedding costs, where the encoder is causal.
  void encode(const Context& context, Workspace& workspace, const std::int32_t* ids, std::int64_t rows,
              std::int64_t length, float* out, Cancel cancel) const;
  std::size_t bytes() const;

 private:
  void encode_chunk(const Context& context, Workspace& workspace, const std::int32_t* ids, const std::int64_t* pooled,
                    std::int64_t rows, std::int64_t length, float* out, Cancel cancel) const;

  TextSettings settings_;
  std::int64_t embedDim_ = 0;
  Tensor tokens_, positions_;
  Linear projection_;
  Norm norm_;
  Transformer transformer_;
};

}  // namespace torchclip::core
