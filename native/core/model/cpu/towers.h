// The fast runner's two towers: a Vision Transformer on uint8 pictures, and CLIP's text encoder on token ids of any
// lengths. Same weights, same settings (torchclip.json) as the generic runner, which is their reference in tests.
#pragma once

#include <algorithm>
#include <memory>

#include "model/config/pixel_table.h"
#include "model/cpu/transformer.h"
#include "model/cpu/winograd.h"

namespace torchclip::core {

// Attention pooling by one learned query (SigLIP), or by the first of several (CoCa, without the MLP): see
// mapPoolSource and queryPoolSource in lib/models/architectures/image-vit.ts.
struct AttentionPool {
  PooledAttention attention;
  Linear out, up, down;
  Norm norm;  // before the MLP; CoCa's before the keys and values
};

class ImageTower {
 public:
  // Null where the settings name something that only the generic runner does.
  static std::unique_ptr<ImageTower> make(const Context& context, Precision precision, const Weights& weights,
                                          const Json& config, std::int64_t embed_dim, const PixelTable& pixels);
  virtual ~ImageTower() = default;

  // pixels: uint8 [rows, size, size, 3]; out: float [rows, embed_dim], not normalised.
  virtual void encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows,
                      float* out, Cancel cancel) const = 0;
  virtual std::size_t bytes() const = 0;
  virtual Precision precision() const = 0;  // of its products; not always what was asked for
};

// Pictures to tokens: a product over patches, positions added, the class row before them. A convolutional stem (kernels
// as large as their strides, batch norm and GELU between) is a chain of such products.
class PatchEmbedding {
 public:
  PatchEmbedding(const Context& context, Precision precision, const Weights& weights, const VitSettings& settings,
                 const PixelTable& pixels);
  // To x: float [rows, settings.length(), width].
  void run(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows, float* x) const;
  std::size_t bytes() const;

 private:
  Type type_ = Type::f32;  // of the products' rows
  VitSettings settings_;
  VitEmbedding embedding_;  // without the patches' own weights
  PixelTable table_;
  std::vector<Linear> stem_;  // but its last product
  Linear patches_;
};

class VitTower : public ImageTower {
 public:
  VitTower(const Context& context, Precision precision, const Weights& weights, const VitSettings& settings,
           std::int64_t embed_dim, const PixelTable& pixels);
  void encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows, float* out,
              Cancel cancel) const override;
  std::size_t bytes() const override;
  Precision precision() const override { return precision_; }

 private:
  void encode_chunk(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows,
                    float* out, Cancel cancel) const;
  // By one query to `pooled`, float [sequences, width of the query].
  void pool_attention(const Context& context, Workspace& workspace, const Sequences& sequences, float* pooled) const;

  Precision precision_ = Precision::fp32;
  VitSettings settings_;
  std::int64_t embedDim_ = 0;
  PatchEmbedding embedding_;
  Linear projection_;
  Norm preNorm_, postNorm_;
  Transformer transformer_;
  AttentionPool pool_;
};

// EVA (lib/models/architectures/image-eva.ts): rotary positions, gated MLPs, norms inside or after the branches.
class EvaTower : public ImageTower {
 public:
  EvaTower(const Context& context, Precision precision, const Weights& weights, const Json& config,
           std::int64_t embed_dim, const PixelTable& pixels);
  void encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows, float* out,
              Cancel cancel) const override;
  std::size_t bytes() const override;
  Precision precision() const override { return precision_; }

 private:
  struct Block {
    Norm norm1, norm2, inner, mlpNorm;
    Linear in, out, gate, up, down;  // gate: empty where the MLP has none
  };
  void encode_chunk(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows,
                    float* out, Cancel cancel) const;
  void rotate(const Context& context, float* qkv, std::int64_t rows) const;
  void attend(const Context& context, Workspace& workspace, std::int64_t rows, bool class_alone) const;
  // x += out, or its norm where norms come after.
  void add(const Context& context, Workspace& workspace, const Linear& linear, const Linear::Input& in,
           const Norm& norm, float* x, std::int64_t rows) const;

  Precision precision_ = Precision::fp32;
  Type type_ = Type::f32;  // of the products' rows
  VitSettings settings_;
  std::int64_t embedDim_ = 0;
  bool rotary_ = false, innerNorm_ = false, normsAfter_ = false;
  std::vector<float> sines_, cosines_;  // [patches, width of a head]
  PatchEmbedding embedding_;
  std::vector<Block> blocks_;
  Norm postNorm_;
  Linear projection_;
};

// The last steps of a tower, for a few pooled rows (float [count, width], overwritten): norm and projection, where
// there are any, to `out`.
void project(const Context& context, const Norm* norm, const Linear& projection, float* rows, std::int64_t count,
             std::int64_t width, float* out);
// A convolution's weights as [columns, taps, channels] (taps by line and column) with the batch norm after it (named;
// empty: none) folded in; a bias of its own is not looked at.
struct FoldedConvolution {
  std::vector<float> weights, bias;
  std::int64_t columns = 0, taps = 0, channels = 0;
};
FoldedConvolution folded(const Weights& weights, const std::string& conv, const std::string& norm);
// The same as a product over its taps.
Linear convolution(const Context& context, Precision precision, const Weights& weights, const std::string& conv,
                   const std::string& norm);
// A matrix that rows are multiplied with from the left, [inner, columns]: float32, for few rows.
Linear projection_of(const Context& context, const Tensor& matrix, const float* bias);
Linear linear_of(const Context& context, Precision precision, const Weights& weights, const std::string& key);

// Tokens that go through the layers together: enough for the products' full speed, and what the workspace is sized by.
constexpr std::int64_t kChunkTokens = 2048;

// work(first picture, pictures) over chunks of nearly the same size.
template <typename Work>
void in_chunks(const VitSettings& settings, std::int64_t rows, Work&& work) {
  const std::int64_t most = std::max<std::int64_t>(1, kChunkTokens / settings.length());
  const std::int64_t chunks = (rows + most - 1) / most;
  for (std::int64_t i = 0; i < chunks; ++i) {
    const std::int64_t begin = i * rows / chunks;
    work(begin, (i + 1) * rows / chunks - begin);
  }
}

// work(first text, texts) over chunks that end with the text that fills them; tokens(i): what text i costs.
template <typename Tokens, typename Work>
void in_token_chunks(std::int64_t rows, Tokens&& tokens, Work&& work) {
  for (std::int64_t begin = 0; begin < rows;) {
    std::int64_t end = begin;
    for (std::int64_t total = 0; end < rows && (end == begin || total < kChunkTokens); ++end) total += tokens(end);
    work(begin, end - begin);
    begin = end;
  }
}

// CLIP's modified ResNet (lib/models/architectures/image-resnet.ts): batch norms are folded into the convolutions,
// which are products over pixels; int8 runs as bf16.
class ResnetTower : public ImageTower {
 public:
  ResnetTower(const Context& context, Precision precision, const Weights& weights, const Json& config,
              std::int64_t embed_dim, const PixelTable& pixels);
  void encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows, float* out,
              Cancel cancel) const override;
  std::size_t bytes() const override;
  Precision precision() const override { return precision_; }

 private:
  // 3 x 3 with ReLU: by Winograd's algorithm where products take float32, else as a product over nine taps.
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
  // in: [images, side, side, channels] of the tower's type to columns of `out` (float32 where Winograd's).
  void convolve(const Context& context, Workspace& workspace, const Convolution& conv, const void* in,
                std::int64_t images, std::int64_t side, void* out, Type out_type) const;
  void encode_chunk(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t images,
                    float* out, Cancel cancel) const;
  void stem(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t images) const;
  void pool(const Context& context, Workspace& workspace, std::int64_t images, float* out) const;

  Precision precision_ = Precision::fp32;
  Type type_ = Type::f32;  // of the products' rows
  std::int64_t size_ = 0, width_ = 0, heads_ = 0, embedDim_ = 0;
  PixelTable table_;
  Linear stem_;
  Convolution stem2_, stem3_;
  std::vector<Block> blocks_;
  Tensor positions_;
  Linear query_, projection_;
  PooledAttention attention_;
};

// The vectors of a text encoder's vocabulary: float32, or of 16 bits where the products' weights are smaller (int8
// keeps fp16).
class TokenTable {
 public:
  TokenTable(Precision precision, const Tensor& vectors);
  std::int64_t inner() const noexcept { return inner_; }
  std::size_t bytes() const noexcept { return vectors_.bytes(); }
  // Of one token: [inner].
  void read(const Kernels& kernels, std::int64_t id, float* to) const;

 private:
  Precision stored_;
  std::int64_t inner_;
  Buffer vectors_;
};

class TextTower {
 public:
  // Null where the settings name something that only the generic runner does.
  static std::unique_ptr<TextTower> make(const Context& context, Precision precision, const Weights& weights,
                                         const Json& config, std::int64_t embed_dim);
  virtual ~TextTower() = default;

  // ids: int32 [rows, length]; out: float [rows, embed_dim], not normalised.
  virtual void encode(const Context& context, Workspace& workspace, const std::int32_t* ids, std::int64_t rows,
                      std::int64_t length, float* out, Cancel cancel) const = 0;
  virtual std::size_t bytes() const = 0;
};

// CLIP's, SigLIP's and CoCa's (lib/models/architectures/text-transformer.ts). Where the encoder is causal, each row
// costs what its own length up to the token that becomes the embedding costs, and what several rows begin with is
// computed once: the same sums in the same order, so the same bits.
class ClipTextTower : public TextTower {
 public:
  ClipTextTower(const Context& context, Precision precision, const Weights& weights, const TextSettings& settings,
                std::int64_t embed_dim);
  void encode(const Context& context, Workspace& workspace, const std::int32_t* ids, std::int64_t rows,
              std::int64_t length, float* out, Cancel cancel) const override;
  std::size_t bytes() const override;

 private:
  // The tokens of a row that anything depends on, as positions in it; `length` stands for the appended token.
  void needed(const std::int32_t* ids, std::int64_t length, std::vector<std::int32_t>& positions) const;
  // Rows `order` of ids; out: [rows of ids, embed_dim].
  void encode_chunk(const Context& context, Workspace& workspace, const std::int32_t* ids,
                    const std::vector<std::int32_t>& order, std::int64_t length, float* out, Cancel cancel) const;

  TextSettings settings_;
  std::int64_t embedDim_ = 0;
  TokenTable tokens_;
  Tensor positions_, appended_;
  Linear projection_;
  Norm norm_;
  Transformer transformer_;
};

// RoBERTa and XLM-R (lib/models/architectures/text-roberta.ts): padding is left out, the tokens' mean is projected.
class RobertaTower : public TextTower {
 public:
  RobertaTower(const Context& context, Precision precision, const Weights& weights, const Json& config);
  void encode(const Context& context, Workspace& workspace, const std::int32_t* ids, std::int64_t rows,
              std::int64_t length, float* out, Cancel cancel) const override;
  std::size_t bytes() const override;

 private:
  void encode_chunk(const Context& context, Workspace& workspace, const std::int32_t* ids, std::int64_t rows,
                    std::int64_t length, float* out, Cancel cancel) const;

  BlockSettings settings_;
  std::int32_t padId_ = 0;
  bool first_ = false;  // the first token is pooled, not the mean
  TokenTable tokens_;
  Tensor positions_, kind_;
  Norm norm_;
  Transformer transformer_;
  Linear projections_[2];  // the second one may be empty
};

}  // namespace torchclip::core
