// Towers that TorchScript runs: those that torchclip has no kernels for, and the reference for tests. They run behind a
// table of functions (backend/torch_table.h; native/torch implements it with libtorch).
#pragma once

#include <cstdint>
#include <memory>

#include "backend/torch_table.h"
#include "base/cancel.h"
#include "kernels/kernels.h"
#include "model/artifact/artifact.h"
#include "model/config/image_output.h"
#include "model/config/pixel_table.h"
#include "model/device.h"

namespace torchclip::core {

struct GenericOptions {
  Device device;
  Precision precision = Precision::fp32;  // The type of parameters and arithmetic; int8 is fp32 here.
  int threads = 1;                        // The number of threads of libtorch on a CPU.
  bool deterministic = false;             // Runs one row at a time, each text at its own length.
  bool images = false, texts = false;     // The towers to load.
};

class GenericRunner {
 public:
  // Generates the TorchScript of the towers from the artifact's settings. A third-party export runs its own code and
  // must be trusted by the caller. Call it on the thread that will run the model. `table` must outlive the runner.
  // Throws Error(E_MODEL_CORRUPT).
  GenericRunner(const torchclip_torch_table& table, const Artifact& artifact, const PixelTable& pixels,
                const GenericOptions& options);

  // The size of parameters and buffers in bytes.
  std::uint64_t bytes() const { return info_.bytes; }
  // exp of the logit_scale parameter of a third-party export. For other models the artifact holds it.
  float logit_scale() const { return info_.logit_scale; }

  // As the methods of Runner, but without normalisation. When memory runs out, the rows are halved and tried again.
  void encode_pixels(const std::uint8_t* pixels, std::int64_t rows, ImageOutput output, float* out, Cancel cancel);
  void encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int64_t length, float* out, Cancel cancel);

 private:
  const torchclip_torch_table& table_;
  std::unique_ptr<torchclip_torch_runner, void (*)(torchclip_torch_runner*)> runner_;
  torchclip_torch_runner_info info_{};
};

}  // namespace torchclip::core
