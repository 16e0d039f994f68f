// What this machine and this libtorch offer, as `torchclip doctor` shows it.
#pragma once

#include <string>
#include <vector>

namespace torchclip::core {

struct SystemInfo {
  std::string libtorch;                   // version of the libtorch that is loaded
  std::string cpu_capability;             // the kernels that libtorch picked: "AVX2", "AVX512", "DEFAULT" ...
  std::vector<std::string> cpu_features;  // "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile" ...
  std::string fast_cuda_problem;          // why torchclip's own CUDA half is not used
  std::string cuda_problem;               // why no CUDA device can be used; empty where one can
  int cuda_devices = 0;
};

SystemInfo system_info();

}  // namespace torchclip::core
