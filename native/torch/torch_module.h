// TorchScript modules for the runner. They are generated from the settings of an artifact and never taken from the
// file. Only a third-party export that the caller trusts is loaded with its own code.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "backend/torch_table.h"
#include "libtorch.h"
#include "model/config/layout.h"

namespace torchclip::libtorch {

using namespace core;

// Compiles `modules` with their parameters and buffers, by dotted path. Scalars and running statistics become buffers,
// as in the published models. Modules without a source are created where a path needs them.
torch::jit::Module build_module(const std::vector<ModuleSource>& modules,
                                const std::map<std::string, at::Tensor>& tensors);

// The CPU for -1, else a CUDA device.
c10::Device torch_device(int cuda_device);

// The tensors of a program in type `dtype` on `device`, by dotted path.
std::map<std::string, at::Tensor> read_tensors(const torchclip_torch_model& model, const torchclip_program& program,
                                               c10::Device device, c10::ScalarType dtype);

// Generates one tower ("visual" or "text") of a model, with its parameters in type `dtype` on `device`. Its method
// forward() takes images [B, 3, S, S] or token ids [B, L].
torch::jit::Module generate_tower(const torchclip_torch_model& model, const torchclip_program& program,
                                  const std::string& tower, c10::Device device, c10::ScalarType dtype);

// Loads a third-party export with its own code, which runs with the rights of this process; the file must be trusted.
// Throws Error(E_MODEL_CORRUPT) if it does not load or lacks encode_image() or encode_text().
torch::jit::Module load_trusted(const torchclip_file& file);

}  // namespace torchclip::libtorch
