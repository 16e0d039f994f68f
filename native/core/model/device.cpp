#include "model/device.h"

#include <charconv>
#include <string_view>

#include "base/error.h"
#include "model/gpu_library.h"

namespace torchclip::core {

std::string Device::name() const { return cuda ? "cuda:" + std::to_string(index) : "cpu"; }

Device device_named(const std::string& name) {
  if (name == "cpu") return {};
  if (name == "cuda") return {true, 0};
  constexpr std::string_view kPrefix = "cuda:";
  if (name.rfind(kPrefix, 0) != 0) {
    throw Error(TORCHCLIP_E_ARGUMENT, "device must be auto, cpu, cuda, cuda:N or cuda:all, not \"" + name + "\"");
  }
  Device device{true, 0};
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + kPrefix.size(), end, device.index);
  if (parsed.ec != std::errc() || parsed.ptr != end) {
    throw Error(TORCHCLIP_E_ARGUMENT, "device must be cuda:N with a whole number N, not \"" + name + "\"");
  }
  return device;
}

Device choose_device(const std::string& name, std::string& note) {
  const bool automatic = name == "auto";
  const Device device = automatic ? Device{true, 0} : device_named(name);
  if (!device.cuda) return device;
  const int count = cuda_device_count();
  if (device.index >= 0 && device.index < count) return device;
  const std::string reason = count ? "this machine has " + std::to_string(count) + " CUDA device(s)" : cuda_problem();
  if (!automatic) throw Error(TORCHCLIP_E_CUDA_UNAVAILABLE, name + " is not available: " + reason);
  note = reason;
  return {};
}

}  // namespace torchclip::core
