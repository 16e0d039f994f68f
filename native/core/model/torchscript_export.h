// Third-party TorchScript exports with methods encode_image(float [N, 3, S, S]) and encode_text(int64 [N, L]). Their
// own code runs with the rights of this process, so the file must be trusted.
#pragma once

#include <cstdint>
#include <string>

namespace torchclip::core {

// Returns the width of the embeddings that both methods return, which is found by running them on zeros. Throws
// Error(E_MODEL_CORRUPT) if a method is missing, fails or returns another shape.
std::int64_t probe_torchscript(const std::string& path, std::int64_t image_size, std::int64_t context_length);

// Writes the export as an artifact with the attributes and extra files of an artifact. If it has no logit_scale, log
// 100 is used. Its code is unchanged. Writes to `output` directly; pass a temporary name and rename the file
// afterwards. Throws Error(E_WRITE) if the file cannot be written.
void wrap_torchscript(const std::string& path, const std::string& config, const std::string& tokenizer,
                      const std::string& output);

}  // namespace torchclip::core
