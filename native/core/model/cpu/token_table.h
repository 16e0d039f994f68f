// The token embedding of a vocabulary.
#pragma once

#include <cstdint>

#include "linalg/packed.h"
#include "model/config/weights.h"

namespace torchclip::core {

// The vectors of a text encoder's vocabulary: float32, or 16 bits if the weights of the linear layers are smaller than
// float32 (int8 uses fp16).
class TokenTable {
 public:
  TokenTable(const Context& context, Precision precision, const Tensor& vectors);
  std::int64_t inner() const noexcept { return inner_; }
  std::size_t bytes() const noexcept { return vectors_.bytes(); }
  // Reads the vector of one token: [inner].
  void read(const Kernels& kernels, std::int64_t id, float* to) const;

 private:
  Precision stored_;
  std::int64_t inner_;
  Buffer vectors_;
};

}  // namespace torchclip::core
