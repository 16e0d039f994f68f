// The one function that libtorchclip_torch.so shows.
#include <string_view>

#include "functions.h"
#include "libtorch.h"

extern "C" __attribute__((visibility("default"))) const torchclip::core::TorchFunctions* torchclip_torch_functions(
    const char* version) {
  using namespace torchclip;
  if (std::string_view(version) != TORCHCLIP_VERSION) return nullptr;
  static const core::TorchFunctions functions{
      TORCH_VERSION,
      at::get_cpu_capability(),
      libtorch::load_cuda,
      libtorch::cuda_device_count,
      libtorch::make_generic_runner,
      libtorch::rows_on_device,
      libtorch::verify_artifact,
      libtorch::probe_torchscript,
      libtorch::wrap_torchscript,
  };
  return &functions;
}
