#include "kernels/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/environment.h"
#include "base/platform_cpu.h"
#include "kernels/tables.h"

#if defined(TORCHCLIP_X86)
#include <cpuid.h>
#endif

namespace torchclip::core {
namespace {

Kernels make(const char* name, const IsaKernels& isa) {
  Kernels k{isa.functions, name, 127, {}, {isa.attention, nullptr}};
  std::copy_n(isa.gemms, kPrecisions, k.gemms);
  return k;
}

Kernels plain() { return make("plain", plain_kernels); }

#if defined(TORCHCLIP_X86) || defined(TORCHCLIP_ARM64)
void use(Kernels& k, const DTypeKernels& faster) {
  k.gemms[static_cast<int>(faster.gemm.format.weights)] = faster.gemm;
  if (faster.attention) k.attention[1] = faster.attention;
  if (faster.int8_dots) k.int8_dots = faster.int8_dots;
  if (faster.widen) k.widen_fp16 = faster.widen;
}
#endif

#if defined(TORCHCLIP_X86)
// CPUID leaf 1, ECX bit 29.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 29));
}

// CPUID leaf 7, subleaf 1, EAX bit 4; compilers of 2022 have no name for it.
bool has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 4));
}

#if defined(TORCHCLIP_AMX)
// CPUID leaf 7, EDX bits 22 (AMX-BF16), 24 (tiles), 25 (AMX-INT8); and the system must lend the tiles.
bool has_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kAll = 1u << 22 | 1u << 24 | 1u << 25;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kAll) == kAll && request_amx_tiles();
}

#endif

Kernels avx512(const std::string& requested_isa) {
  const bool base_only = requested_isa == "avx512";
  const bool vnni = !base_only && __builtin_cpu_supports("avx512vnni");
  const bool bf16 = !base_only && __builtin_cpu_supports("avx512bf16");
  Kernels k = make("avx512", avx512_kernels);
  k.weight_max = vnni ? 127 : 63;
  if (vnni) {
    k.name = "avx512_vnni";
    use(k, avx512_vnni_int8);
  }
  if (bf16) {
    k.name = "avx512_bf16";
    use(k, avx512_bf16);
  }
#if defined(TORCHCLIP_AMX)
  // Matrix multiplications use tiles instead of registers; those of attention are too small for tiles.
  if (bf16 && vnni && requested_isa != "avx512_bf16" && has_amx()) {
    k.name = "avx512_amx";
    use(k, amx_bf16);
    use(k, amx_int8);
  }
#endif
  return k;
}

Kernels avx2(const std::string& requested_isa) {
  const bool vnni = requested_isa != "avx2" && has_avx_vnni();
  Kernels k = make("avx2", avx2_kernels);
  k.weight_max = vnni ? 127 : 63;
  if (vnni) {
    k.name = "avx2_vnni";
    use(k, avx2_vnni_int8);
  }
  if (has_f16c()) {
    use(k, avx2_f16c);
  } else {  // a virtual machine may hide it
    k.gemms[static_cast<int>(Precision::fp16)] = plain_kernels.gemms[static_cast<int>(Precision::fp16)];
    k.widen_fp16 = plain_kernels.functions.widen_fp16;
  }
  return k;
}

Kernels choose() {
  __builtin_cpu_init();
  const std::string requested_isa = environment("TORCHCLIP_ISA");
  if (requested_isa == "none" || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return plain();
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return has_avx512 && requested_isa != "avx2" && requested_isa != "avx2_vnni" ? avx512(requested_isa)
                                                                               : avx2(requested_isa);
}
#elif defined(TORCHCLIP_ARM64)
Kernels choose() {
  const std::string requested_isa = environment("TORCHCLIP_ISA");
  if (requested_isa == "none") return plain();
  const Arm64Features has = arm64_features();
  Kernels k = make("neon", neon_kernels);
  if (requested_isa == "neon") return k;
  if (has.dot_product) {
    k.name = "neon_dot";
    use(k, neon_dot_int8);
  }
  if (requested_isa == "neon_dot") return k;
  if (has.i8mm) {
    k.name = "neon_i8mm";
    use(k, neon_i8mm_int8);
  }
  if (requested_isa == "neon_i8mm") return k;
  if (has.bf16) {
    k.name = "neon_bf16";
    use(k, neon_bf16);
  }
  return k;
}
#else
Kernels choose() { return plain(); }
#endif

// The scale of each row, as pack_panel writes it, and the inverses that the rows are multiplied by.
void find_scales(const float* w, std::int64_t ld, std::int64_t rows, std::int64_t inner, std::int32_t weight_max,
                 float* scales, float* inverse) {
  std::fill_n(scales, kPanel, 0.0f);
  for (std::int64_t l = 0; l < rows; ++l) {
    float largest = 0;
    for (std::int64_t k = 0; k < inner; ++k) largest = std::max(largest, std::abs(w[l * ld + k]));
    inverse[l] = largest > 0 ? static_cast<float>(weight_max) / largest : 0.0f;
    scales[l] = largest / static_cast<float>(weight_max);
  }
}

}  // namespace

const Kernels* kernels() {
  static const Kernels chosen = choose();
  return &chosen;
}

std::uint16_t to_bf16(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

std::uint16_t to_fp16(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  const std::uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  constexpr std::uint32_t kInfinity = 0x7f800000, kTooLarge = 0x477ff000;  // from 65520 on it rounds to infinity
  constexpr std::uint32_t kLeastNormal = 0x38800000;                       // 2^-14
  if (magnitude > kInfinity) return static_cast<std::uint16_t>(sign | 0x7e00);
  if (magnitude >= kTooLarge) return static_cast<std::uint16_t>(sign | 0x7c00);
  if (magnitude < kLeastNormal) {  // a multiple of 2^-24: the sum's last bit is worth as much
    float sum = std::abs(x) + 0.5f;
    std::memcpy(&bits, &sum, 4);
    return static_cast<std::uint16_t>(sign | (bits - 0x3f000000));
  }
  const std::uint32_t rebased = magnitude - (std::uint32_t{127 - 15} << 23);
  return static_cast<std::uint16_t>(sign | ((rebased + 0xfff + ((rebased >> 13) & 1)) >> 13));
}

void pack_panel(const float* w, std::int64_t ld, std::int64_t rows, std::int64_t inner, const Format& format,
                std::int32_t weight_max, std::int64_t panel, void* packed, float* scales) {
  const bool bytes = format.weights == Precision::int8;
  const std::int64_t steps = format.steps(inner), strip_bytes = steps * format.strip * format.bytes();
  char* out = static_cast<char*>(packed) + panel * steps * kPanel * format.bytes();
  const std::uint8_t empty = bytes ? static_cast<std::uint8_t>(weight_max + 1) : 0;  // the offset, or zero
  std::memset(out, empty, static_cast<std::size_t>(steps * kPanel * format.bytes()));
  float inverse[kPanel] = {};
  if (bytes) find_scales(w, ld, rows, inner, weight_max, scales, inverse);
  // Elements of A in a step; and where a column's first one lies in its strip.
  const std::int64_t group = step_of(format.input), half = format.strip / 2;
  const auto place = [&](std::int64_t lane) {
    if (format.weights != Precision::bf16 || !format.widens()) return lane * group;
    return lane % half * 2 + lane / half;
  };
  // Some rows of W at a time, so that what is written stays in the first cache.
  constexpr std::int64_t kRows = 64;
  for (std::int64_t first = 0; first < inner; first += kRows) {
    const std::int64_t end = std::min(inner, first + kRows);
    for (std::int64_t l = 0; l < rows; ++l) {
      const float* from = w + l * ld;
      char* strip = out + l / format.strip * strip_bytes;
      const auto fill = [&](auto* to, const auto& stored) {
        to += place(l % format.strip);
        for (std::int64_t k = first; k < end; ++k) to[k / group * group * format.strip + k % group] = stored(from[k]);
      };
      switch (format.weights) {
        case Precision::fp32:
          fill(reinterpret_cast<float*>(strip), [](float x) { return x; });
          break;
        case Precision::bf16:
          fill(reinterpret_cast<std::uint16_t*>(strip), to_bf16);
          break;
        case Precision::fp16:
          fill(reinterpret_cast<std::uint16_t*>(strip), to_fp16);
          break;
        case Precision::int8:
          fill(reinterpret_cast<std::uint8_t*>(strip), [&](float x) {
            return static_cast<std::uint8_t>(static_cast<std::int32_t>(std::nearbyintf(x * inverse[l])) + weight_max +
                                             1);
          });
      }
    }
  }
}

}  // namespace torchclip::core
