#include "kernels/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/tables.h"

#if defined(TORCHCLIP_X86)
#include <cpuid.h>
#endif
#if defined(TORCHCLIP_AMX)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace torchclip::core {
namespace {

#if defined(TORCHCLIP_X86)
Kernels make(const char* name, const Part& part, const FastProduct* bf16, const FastProduct* int8) {
  Kernels k{};
  k.name = name;
  k.multiply[0] = part.floats;
  k.multiply[1] = bf16 ? bf16->multiply : nullptr;
  k.multiply[2] = int8 ? int8->multiply : part.pairs;
  k.tileRows[0] = part.floatRows;
  k.tileRows[1] = bf16 ? bf16->rows : 0;
  k.tileRows[2] = int8 ? int8->rows : part.pairRows;
  k.weightMax = int8 ? 127 : 63;
  k.types = int8 ? (bf16 ? "fp32, bf16 (avx512_bf16), int8 (vnni)" : "fp32, int8 (vnni)") : "fp32, int8 (maddubs)";
  k.layerNorm = part.layerNorm;
  k.attention[0] = part.attention;
  k.attention[1] = bf16 ? bf16->attention : nullptr;
  k.winogradInput = part.winogradInput;
  k.winogradOutput = part.winogradOutput;
  k.scan = part.scan;
  k.dots = part.dots;
  k.byteDots = int8 ? int8->byteDots : part.byteDots;
  return k;
}

// CPUID leaf 7, subleaf 1, EAX bit 4; compilers of 2022 have no name for it.
bool has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 4));
}

#if defined(TORCHCLIP_AMX)
// CPUID leaf 7, EDX bits 22 (AMX-BF16), 24 (tiles), 25 (AMX-INT8); and Linux lends the tiles to those who ask
// (ARCH_REQ_XCOMP_PERM for state 18, Documentation/arch/x86/xstate.rst).
bool has_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kAll = 1u << 22 | 1u << 24 | 1u << 25;
  constexpr long kRequest = 0x1023, kTileData = 18;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kAll) == kAll &&
         syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

// Products on tiles in the place of those in registers; attention's are too small for them.
void use_tiles(Kernels& k) {
  k.name = "avx512_amx";
  k.types = "fp32, bf16 (amx), int8 (amx)";
  k.multiply[1] = amx_bf16.multiply;
  k.multiply[2] = amx_int8.multiply;
  k.tileRows[1] = amx_bf16.rows;
  k.tileRows[2] = amx_int8.rows;
}
#endif

const Kernels* choose() {
  __builtin_cpu_init();
  const char* wish = std::getenv("TORCHCLIP_ISA");
  const std::string most = wish ? wish : "";
  if (most == "none" || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return nullptr;
  static Kernels chosen;
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (wide && most != "avx2" && most != "avx2_vnni") {
    const bool plain = most == "avx512";
    const bool vnni = !plain && __builtin_cpu_supports("avx512vnni");
    const bool bf16 = !plain && __builtin_cpu_supports("avx512bf16");
    chosen = make(bf16   ? "avx512_bf16"
                  : vnni ? "avx512_vnni"
                         : "avx512",
                  avx512_part, bf16 ? &avx512_bf16 : nullptr, vnni ? &avx512_vnni_int8 : nullptr);
#if defined(TORCHCLIP_AMX)
    if (bf16 && vnni && most != "avx512_bf16" && has_amx()) use_tiles(chosen);
#endif
  } else {
    const bool vnni = most != "avx2" && has_avx_vnni();
    chosen = make(vnni ? "avx2_vnni" : "avx2", avx2_part, nullptr, vnni ? &avx2_vnni_int8 : nullptr);
  }
  return &chosen;
}
#else
const Kernels* choose() { return nullptr; }
#endif

}  // namespace

const Kernels* kernels() {
  static const Kernels* const chosen = choose();
  return chosen;
}

std::uint16_t to_bf16(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

void pack_panel(const float* w, std::int64_t ld, std::int64_t rows, std::int64_t inner, Type type,
                std::int32_t weight_max, std::int64_t panel, void* packed, float* scales) {
  const std::int64_t group = step_of(type), steps = round_up(inner, group) / group;
  char* out = static_cast<char*>(packed) + panel * steps * kPanel * 4;
  const std::uint8_t empty = type == Type::s8 ? static_cast<std::uint8_t>(weight_max + 1) : 0;  // the offset, or zero
  std::memset(out, empty, static_cast<std::size_t>(steps) * kPanel * 4);
  if (scales) std::fill_n(scales, kPanel, 0.0f);
  float inverse[kPanel] = {};
  for (std::int64_t l = 0; type == Type::s8 && l < rows; ++l) {
    float largest = 0;
    for (std::int64_t k = 0; k < inner; ++k) largest = std::max(largest, std::abs(w[l * ld + k]));
    inverse[l] = largest > 0 ? static_cast<float>(weight_max) / largest : 0.0f;
    scales[l] = largest / static_cast<float>(weight_max);
  }
  // Some columns at a time, so that what is written stays in the first cache.
  constexpr std::int64_t kColumns = 64;
  for (std::int64_t first = 0; first < inner; first += kColumns) {
    const std::int64_t end = std::min(inner, first + kColumns);
    for (std::int64_t l = 0; l < rows; ++l) {
      const float* from = w + l * ld;
      if (type == Type::f32) {
        auto* to = reinterpret_cast<float*>(out) + l;
        for (std::int64_t k = first; k < end; ++k) to[k * kPanel] = from[k];
      } else if (type == Type::bf16) {
        auto* to = reinterpret_cast<std::uint16_t*>(out) + 2 * l;
        for (std::int64_t k = first; k < end; ++k) to[k / 2 * 2 * kPanel + k % 2] = to_bf16(from[k]);
      } else {
        auto* to = reinterpret_cast<std::uint8_t*>(out) + 4 * l;
        for (std::int64_t k = first; k < end; ++k) {
          to[k / 4 * 4 * kPanel + k % 4] = static_cast<std::uint8_t>(
              static_cast<std::int32_t>(std::nearbyintf(from[k] * inverse[l])) + weight_max + 1);
        }
      }
    }
  }
}

}  // namespace torchclip::core
