// CLIP's Transformer towers on a Device. They have the weights, settings and names of the fast CPU runner
// (core/model/cpu/tower.h), but another order of work. Sequences are packed, the residual stream is float32, matrix
// multiplication and attention use the model's element type, and the last layer runs for the pooled tokens only.
#pragma once

#include <memory>

#include "device.h"
#include "model/gpu_model.h"

namespace torchclip::cuda {

using core::Cancel;

std::unique_ptr<core::GpuModel> make_model(std::unique_ptr<Device> device, const core::GpuModelSource& source);

}  // namespace torchclip::cuda
