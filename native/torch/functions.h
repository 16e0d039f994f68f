// What this library gives the core: model/torch_library.h describes each function.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "model/device_rows.h"
#include "model/torch_library.h"

namespace torchclip::libtorch {

using namespace core;  // the namespace of what they take and give

std::string load_cuda();
int cuda_device_count();
std::unique_ptr<GenericRunner> make_generic_runner(const Artifact& artifact, const PixelTable& pixels,
                                                   const GenericOptions& options);
std::unique_ptr<DeviceRows> rows_on_device(const Device& device, const float* rows, std::int64_t count,
                                           std::int32_t dim);
void verify_artifact(const std::string& path);
std::int64_t probe_torchscript(const std::string& path, std::int64_t image_size, std::int64_t context_length);
void wrap_torchscript(const std::string& path, const std::string& config, const std::string& tokenizer,
                      const std::string& output);

}  // namespace torchclip::libtorch
