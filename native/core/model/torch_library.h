// The library libtorchclip_torch.so, which holds all that needs libtorch (native/torch). It is opened when something
// first needs it, so that a process which runs torchclip's own kernels never maps libtorch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "model/device.h"
#include "model/generic_runner.h"

namespace torchclip::core {

class DeviceRows;

// What the library gives. The core finds it by torchclip_torch_functions(version), which returns null to the caller of
// another version. Errors are thrown as Error or std::exception.
struct TorchFunctions {
  std::string version;         // of libtorch
  std::string cpu_capability;  // the kernels that libtorch chose: "AVX2", "AVX512", "DEFAULT" ...

  // Loads libtorch's CUDA library. Empty where CUDA devices can be used; else the reason and what to install. Call it
  // before anything asks libtorch about CUDA, as libtorch remembers the first answer.
  std::string (*load_cuda)();
  int (*cuda_device_count)();

  std::unique_ptr<GenericRunner> (*make_generic_runner)(const Artifact& artifact, const PixelTable& pixels,
                                                        const GenericOptions& options);
  std::unique_ptr<DeviceRows> (*rows_on_device)(const Device& device, const float* rows, std::int64_t count,
                                                std::int32_t dim);
  void (*verify_artifact)(const std::string& path);
  std::int64_t (*probe_torchscript)(const std::string& path, std::int64_t image_size, std::int64_t context_length);
  void (*wrap_torchscript)(const std::string& path, const std::string& config, const std::string& tokenizer,
                           const std::string& output);
};
constexpr const char* kTorchEntry = "torchclip_torch_functions";

// Opens the library. Throws Error(E_INTERNAL) with the reason where it is missing or does not load.
const TorchFunctions& torch_functions();

}  // namespace torchclip::core
