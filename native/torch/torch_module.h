// TorchScript modules for the generic runner: generated from the settings of an artifact, never taken from the file,
// or, for a third-party export that the caller trusts, loaded with its own code.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "libtorch.h"
#include "model/artifact/artifact.h"
#include "model/config/layout.h"

namespace torchclip::core {

// Compiles `modules` with their parameters and buffers, by dotted path. Scalars and running statistics become buffers,
// as in the published models. Modules without a source are made where a path needs them.
torch::jit::Module build_module(const std::vector<ModuleSource>& modules,
                                const std::map<std::string, at::Tensor>& tensors);

// A tensor of the artifact, in the type in which it is stored.
at::Tensor read_tensor(const Artifact& artifact, const StoredTensor& tensor);

// One tower ("visual" or "text") of an artifact, generated from its settings, its parameters of type `dtype` on
// `device`. Its method forward() takes images [B, 3, S, S] or token ids [B, L].
torch::jit::Module generate_tower(const Artifact& artifact, const std::string& tower, c10::Device device,
                                  c10::ScalarType dtype);

// Lets libtorch read a file through the descriptor that was opened before.
std::shared_ptr<caffe2::serialize::ReadAdapterInterface> file_reader(std::shared_ptr<const File> file);

// A third-party export with its own code, which runs with the rights of this process: for trusted files alone. Throws
// Error(E_MODEL_CORRUPT) where it does not load or lacks encode_image() or encode_text().
torch::jit::Module load_trusted(const std::shared_ptr<const File>& file);

}  // namespace torchclip::core
