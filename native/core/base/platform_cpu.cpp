#include "base/platform_cpu.h"

#if defined(__linux__)
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>

#include <cstddef>
#endif

namespace torchclip::core {

bool request_amx_tiles() {
#if defined(__linux__) && defined(__x86_64__)
  // ARCH_REQ_XCOMP_PERM for state 18, Documentation/arch/x86/xstate.rst of Linux.
  constexpr long kRequest = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
#else
  return false;
#endif
}

#if defined(__aarch64__)
#if defined(__linux__)

Arm64Features arm64_features() {
  // arch/arm64/include/uapi/asm/hwcap.h of Linux; the headers of older C libraries lack the last two.
  constexpr unsigned long kDotProduct = 1ul << 20;               // HWCAP_ASIMDDP
  constexpr unsigned long kI8mm = 1ul << 13, kBf16 = 1ul << 14;  // HWCAP2_I8MM, HWCAP2_BF16
  const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
  return {(first & kDotProduct) != 0, (second & kI8mm) != 0, (second & kBf16) != 0};
}

#elif defined(__APPLE__)

Arm64Features arm64_features() {
  const auto has = [](const char* name) {
    int value = 0;
    std::size_t bytes = sizeof value;
    return sysctlbyname(name, &value, &bytes, nullptr, 0) == 0 && value == 1;
  };
  return {has("hw.optional.arm.FEAT_DotProd"), has("hw.optional.arm.FEAT_I8MM"), has("hw.optional.arm.FEAT_BF16")};
}

#else

Arm64Features arm64_features() { return {}; }

#endif
#endif

}  // namespace torchclip::core
