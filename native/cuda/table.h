// The functions of torchclip_cuda_table over the C++ of this folder. They know no CUDA, so that tests run them on a
// model of a GPU; library.cpp adds the devices.
#pragma once

#include <memory>

#include "backend/cuda_table.h"
#include "device.h"
#include "resident_rows.h"
#include "shared_device.h"

namespace torchclip::cuda {

// Makes the model of `source` on a device. Throws Error.
torchclip_cuda_model* model_on(std::unique_ptr<Device> device, const torchclip_cuda_source& source);

// Whether the device of this model may time GEMMs: a deterministic model has the same plans in every process.
bool tunes(const torchclip_cuda_source& source);

// Makes an empty array of rows on a device.
torchclip_cuda_rows* rows_on(std::shared_ptr<SharedDevice> device, std::int64_t dim, const ResidentOptions& how = {});

// A table with the functions of models and rows but make_model and make_rows; those of other searches and free_cache
// are missing, too.
torchclip_cuda_table model_table();

}  // namespace torchclip::cuda
