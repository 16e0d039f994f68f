// TorchScript modules for the generic runner. They are generated from the settings of an artifact and never taken from
// the file. Only a third-party export that the caller trusts is loaded with its own code.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "libtorch.h"
#include "model/artifact/artifact.h"
#include "model/config/layout.h"

namespace torchclip::libtorch {

using namespace core;

// Compiles `modules` with their parameters and buffers, by dotted path. Scalars and running statistics become buffers,
// as in the published models. Modules without a source are created where a path needs them.
torch::jit::Module build_module(const std::vector<ModuleSource>& modules,
                                const std::map<std::string, at::Tensor>& tensors);

// Generates one tower ("visual" or "text") of an artifact from its settings, with its parameters in type `dtype` on
// `device`. Its method forward() takes images [B, 3, S, S] or token ids [B, L].
torch::jit::Module generate_tower(const Artifact& artifact, const std::string& tower, c10::Device device,
                                  c10::ScalarType dtype);

// Lets libtorch read a file through its open descriptor.
std::shared_ptr<caffe2::serialize::ReadAdapterInterface> file_reader(std::shared_ptr<const File> file);

// Loads a third-party export with its own code, which runs with the rights of this process; the file must be trusted.
// Throws Error(E_MODEL_CORRUPT) if it does not load or lacks encode_image() or encode_text().
torch::jit::Module load_trusted(const std::shared_ptr<const File>& file);

}  // namespace torchclip::libtorch
