// The hardware engines for JPEG files that data-centre GPUs have from A100 on, through nvJPEG.
#pragma once

#include <cstdint>
#include <memory>

#include "jpeg_jobs.h"
#include "nvjpeg_library.h"

namespace torchclip::cuda {

// Returns null if the current device has no engines, or this nvJPEG does not know them. `library` must outlive them.
std::unique_ptr<JpegEngines> make_jpeg_engines(const nvjpeg::Library& library, int device, std::int64_t lanes);

}  // namespace torchclip::cuda
