// Convolutions as matrix multiplications over their taps, with the following batch norm folded in.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "linalg/packed.h"
#include "model/config/weights.h"

namespace torchclip::core {

constexpr float kBatchNormEps = 1e-5f;  // As every batch norm of these models has it.

// The weights of a convolution as [columns, taps, channels] (taps by row and column), with the batch norm that follows
// it (by name; empty: none) folded in. The convolution's own bias is ignored.
struct FoldedConvolution {
  std::vector<float> weights, bias;
  std::int64_t columns = 0, taps = 0, channels = 0;
};
FoldedConvolution folded(const Weights& weights, const std::string& conv, const std::string& norm);
// Returns the convolution as a Linear layer over its taps.
Linear convolution(const Context& context, Precision precision, const Weights& weights, const std::string& conv,
                   const std::string& norm);

}  // namespace torchclip::core
