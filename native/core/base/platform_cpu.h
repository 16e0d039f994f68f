// What the operating system says of the CPU, and what of it a process must ask for.
#pragma once

namespace torchclip::core {

// Asks the system to lend the tile registers of AMX to this process. Returns false where it does not.
bool request_amx_tiles();

#if defined(__aarch64__)

// The extensions of the ARM64 instruction set that this CPU and its system offer. NEON itself belongs to the base.
struct Arm64Features {
  bool dot_product = false;  // FEAT_DotProd: SDOT, UDOT
  bool i8mm = false;         // FEAT_I8MM: USDOT, SMMLA, USMMLA
  bool bf16 = false;         // FEAT_BF16: BFDOT, BFMMLA
};

Arm64Features arm64_features();

#endif

}  // namespace torchclip::core
