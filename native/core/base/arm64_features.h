// The extensions of the ARM64 instruction set that this CPU and its system offer. NEON itself belongs to the base.
#pragma once

#if defined(__aarch64__)

namespace torchclip::core {

struct Arm64Features {
  bool dot_product = false;  // FEAT_DotProd: SDOT, UDOT
  bool i8mm = false;         // FEAT_I8MM: USDOT, SMMLA, USMMLA
  bool bf16 = false;         // FEAT_BF16: BFDOT, BFMMLA
};

Arm64Features arm64_features();

}  // namespace torchclip::core

#endif
