// What this machine and its libtorch support, as shown by `torchclip doctor`.
#pragma once

#include <string>
#include <vector>

namespace torchclip::core {

struct SystemInfo {
  std::vector<std::string> cpu_features;  // "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile" ...
  std::string fast_cuda_problem;          // The reason why torchclip's own CUDA library is not used.
  std::string cuda_problem;               // The reason why no CUDA device can be used; empty if one can.
  int cuda_devices = 0;
};

// Opens libtorch only if there is an NVIDIA driver.
SystemInfo system_info();

struct LibtorchInfo {
  std::string version;
  std::string cpu_capability;  // The kernels that libtorch chose: "AVX2", "AVX512", "DEFAULT" ...
};

// Opens libtorch. Throws Error(E_ADDON) if it is missing or does not load.
LibtorchInfo libtorch_info();

}  // namespace torchclip::core
