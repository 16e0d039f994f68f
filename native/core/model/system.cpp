#include "model/system.h"

#include "base/platform_cpu.h"
#include "model/gpu_library.h"
#include "model/torch_library.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace torchclip::core {
namespace {

std::vector<std::string> cpu_features() {
  std::vector<std::string> found;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) found.push_back("avx2");
  if (__builtin_cpu_supports("fma")) found.push_back("fma");
  if (__builtin_cpu_supports("avx512f")) found.push_back("avx512f");
  if (__builtin_cpu_supports("avx512bw")) found.push_back("avx512bw");
  if (__builtin_cpu_supports("avx512vnni")) found.push_back("avx512_vnni");
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
    if (a & (1u << 4)) found.push_back("avx_vnni");
    if (a & (1u << 5)) found.push_back("avx512_bf16");
  }
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    if (d & (1u << 22)) found.push_back("amx_bf16");
    if (d & (1u << 24)) found.push_back("amx_tile");
    if (d & (1u << 25)) found.push_back("amx_int8");
  }
#elif defined(__aarch64__)
  found.push_back("neon");
  const Arm64Features has = arm64_features();
  if (has.dot_product) found.push_back("dotprod");
  if (has.i8mm) found.push_back("i8mm");
  if (has.bf16) found.push_back("bf16");
#endif
  return found;
}

}  // namespace

SystemInfo system_info() {
  SystemInfo s;
  s.cpu_features = cpu_features();
  s.cuda_problem = cuda_problem();
  s.fast_cuda_problem = fast_cuda_problem();
  s.cuda_devices = cuda_device_count();
  return s;
}

LibtorchInfo libtorch_info() {
  const auto& table = torch_table("this");
  return {table.libtorch_version, table.cpu_capability};
}

}  // namespace torchclip::core
