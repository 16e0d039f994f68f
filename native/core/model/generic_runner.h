// Towers that TorchScript runs, for what torchclip has no kernels for and as the reference of tests. This header is all
// that the core knows of it: native/torch implements it with libtorch.
#pragma once

#include <cstdint>
#include <memory>

#include "base/cancel.h"
#include "kernels/kernels.h"
#include "model/artifact/artifact.h"
#include "model/config/pixel_table.h"
#include "model/device.h"

namespace torchclip::core {

struct GenericOptions {
  Device device;
  Precision precision = Precision::fp32;  // of parameters and arithmetic; int8 is fp32 here
  int threads = 1;                        // of libtorch on a CPU
  bool deterministic = false;             // a row at a time, each text at its own length
  bool images = false, texts = false;     // the towers that are wanted
};

class GenericRunner {
 public:
  virtual ~GenericRunner() = default;
  // Bytes of parameters and buffers.
  virtual std::uint64_t bytes() const = 0;
  // exp of the parameter of a third-party export; the artifact says those of the others.
  virtual float logit_scale() const = 0;

  // As Runner's, not normalised. Where memory runs out, with half of the rows at a time.
  virtual void encode_pixels(const std::uint8_t* pixels, std::int64_t rows, float* out, Cancel cancel) = 0;
  virtual void encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int64_t length, float* out,
                             Cancel cancel) = 0;
};

// Generates the TorchScript of the towers from the artifact's settings; of a third-party export, runs its own code:
// only for files that the caller trusts. Call it on the thread that will run the model. Throws Error(E_MODEL_CORRUPT).
std::unique_ptr<GenericRunner> make_generic_runner(const Artifact& artifact, const PixelTable& pixels,
                                                   const GenericOptions& options);

}  // namespace torchclip::core
