// The vectors of a vocabulary.
#pragma once

#include <cstdint>

#include "linalg/packed.h"
#include "model/config/weights.h"

namespace torchclip::core {

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

}  // namespace torchclip::core
