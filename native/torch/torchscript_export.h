// Third-party TorchScript exports with methods encode_image(float [N, 3, S, S]) and encode_text(int64 [N, L]). Their
// own code runs with the rights of this process, so the file must be trusted.
#pragma once

#include <cstdint>

#include "backend/torch_table.h"

namespace torchclip::libtorch {

// Returns the width of the embeddings that both methods return for zeros. Throws Error(E_MODEL_CORRUPT) if a method is
// missing, fails or returns another shape.
std::int64_t probe_export(const torchclip_file& file, std::int64_t image_size, std::int64_t context_length);

// Writes the export with the attributes and extra files of an artifact. If it has no logit_scale, log 100 is used.
// Throws Error(E_WRITE) if the file cannot be written.
void wrap_export(const torchclip_torch_wrapping& wrapping);

}  // namespace torchclip::libtorch
