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
  std::int64_t heads = 0;
  Activation activation = Activation::none;
};

class ImageTower {
 public:
  // Null where the settings name something that only the generic runner does.
  static std::unique_ptr<ImageTower> make(const Context& context, Type type, const Weights& weights, const Json& config,
                                          std::int64_t embed_dim, const double* mean, const double* std);

  // pixels: uint8 [rows, size, size, 3]; out: float [rows, embed_dim], not normalised.
  void encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows, float* out,
              Cancel cancel) const;
  std::size_t bytes() const;

 private:
  void encode_chunk(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows,
                    float* out, Cancel cancel) const;
  void pool_map(const Context& context, Workspace& workspace, const Sequences& sequences, float* pooled) const;

  Type type_ = Type::f32, patchType_ = Type::f32;
  std::int64_t size_ = 0, patch_ = 0, grid_ = 0, width_ = 0, embedDim_ = 0;
  bool classToken_ = false, normAfterPool_ = false;
  enum class Pool { token, average, map } pool_ = Pool::token;
  float table_[3][256];           // normalised value of each channel and byte
  std::vector<float> positions_;  // [grid^2, width], with the patch embedding's bias
  std::vector<float> classRow_;   // class embedding and its position
  Linear patches_, projection_;
  Norm preNorm_, postNorm_;
  bool hasPreNorm_ = false;
  Transformer transformer_;
  MapPool map_;
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
  std::int64_t pooled_position(const std::int32_t* ids, std::int64_t length) const;

  enum class Pool { argmax, eos, last, first } pool_ = Pool::argmax;
  bool causal_ = true;
  std::int32_t endId_ = 0;
  std::int64_t width_ = 0, embedDim_ = 0;
  Tensor tokens_, positions_;
  Linear projection_;
  Norm norm_;
  Transformer transformer_;
};

}  // namespace torchclip::core
