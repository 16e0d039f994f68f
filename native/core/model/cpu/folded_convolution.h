// Convolutions as products over their taps, with the batch norm after them folded in.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "linalg/packed.h"
#include "model/config/weights.h"

namespace torchclip::core {

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

}  // namespace torchclip::core
