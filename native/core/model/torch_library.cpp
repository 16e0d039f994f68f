#include "model/torch_library.h"

#include "base/error.h"
#include "base/shared_library.h"
#include "model/artifact_verifier.h"
#include "model/device_rows.h"
#include "model/torchscript_export.h"

namespace torchclip::core {
namespace {

constexpr const char* kName = "libtorchclip_torch.so";

}  // namespace

const TorchFunctions& torch_functions() {
  static const auto library = open_functions<TorchFunctions>(kName, kTorchEntry);
  if (library.functions) return *library.functions;
  const std::string why = library.problem.empty() ? "it is of another version" : library.problem;
  throw Error(TORCHCLIP_E_INTERNAL,
              std::string("this needs libtorch, and ") + kName + " does not load: " + why + "; build torchclip anew");
}

std::unique_ptr<GenericRunner> make_generic_runner(const Artifact& artifact, const PixelTable& pixels,
                                                   const GenericOptions& options) {
  return torch_functions().make_generic_runner(artifact, pixels, options);
}

std::unique_ptr<DeviceRows> rows_on_device(const Device& device, const float* rows, std::int64_t count,
                                           std::int32_t dim) {
  return torch_functions().rows_on_device(device, rows, count, dim);
}

void verify_artifact(const std::string& path) { torch_functions().verify_artifact(path); }

std::int64_t probe_torchscript(const std::string& path, std::int64_t image_size, std::int64_t context_length) {
  return torch_functions().probe_torchscript(path, image_size, context_length);
}

void wrap_torchscript(const std::string& path, const std::string& config, const std::string& tokenizer,
                      const std::string& output) {
  torch_functions().wrap_torchscript(path, config, tokenizer, output);
}

}  // namespace torchclip::core
