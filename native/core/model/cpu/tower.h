// The towers of a model on the CPU: uint8 images or token ids in, float embeddings out. They use the same weights and
// settings (torchclip.json) as the generic runner, which is their reference in tests.
#pragma once

#include <cstdint>
#include <memory>

#include "base/cancel.h"
#include "base/json.h"
#include "linalg/arena.h"
#include "linalg/packed.h"
#include "model/config/image_output.h"
#include "model/config/pixel_table.h"
#include "model/config/weights.h"

namespace torchclip::core {

class ImageTower {
 public:
  // Returns null if the settings name something that only the generic runner supports.
  static std::unique_ptr<ImageTower> make(const Context& context, Precision precision, const Weights& weights,
                                          const Json& config, std::int64_t embed_dim, const PixelTable& pixels);
  virtual ~ImageTower() = default;

  // pixels: uint8 [rows, size, size, 3]; out: f32 [rows, embed_dim], or [rows, pooled_dim] of TowerLayout for the
  // pooled feature; not normalised.
  virtual void encode(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output,
                      const Matrix& out, Cancel cancel) const = 0;
  virtual std::size_t bytes() const = 0;
  // The precision of its matrix multiplications, which may differ from the requested one.
  virtual Precision precision() const = 0;
};

class TextTower {
 public:
  // Returns null if the settings name something that only the generic runner supports.
  static std::unique_ptr<TextTower> make(const Context& context, Precision precision, const Weights& weights,
                                         const Json& config, std::int64_t embed_dim);
  virtual ~TextTower() = default;

  // ids: int32 [rows, length]; out: f32 [rows, embed_dim], not normalised.
  virtual void encode(const Context& context, Arena& arena, const std::int32_t* ids, std::int64_t length,
                      const Matrix& out, Cancel cancel) const = 0;
  virtual std::size_t bytes() const = 0;
};

}  // namespace torchclip::core
