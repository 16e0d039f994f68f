#include "torch_module.h"

#include "backend/edge.h"
#include "model/artifact/module_tree.h"
#include "program.h"

namespace torchclip::libtorch {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

// Makes the modules from the leaves up, because a child's type must be complete when its parent registers it.
torch::jit::Module make_module(const ModuleNode& node, const Tensors& tensors) {
  torch::jit::Module module(c10::QualifiedName(std::string(kClassNamespace) + "." + node.class_name));
  for (const auto& name : node.parameters) {
    module.register_parameter(name, tensors.at(path_below(node, name)), false);
  }
  for (const auto& name : node.buffers) module.register_buffer(name, tensors.at(path_below(node, name)));
  for (const auto& [name, child] : node.children) module.register_module(name, make_module(child, tensors));
  if (!node.source.empty()) module.define(node.source);
  return module;
}

// A tensor of the model in the type in which it is stored.
at::Tensor read_tensor(const torchclip_torch_model& model, const torchclip_tensor& tensor) {
  auto values = at::empty(shape_of(tensor), stored_type(tensor));
  call(model.read_tensor, model.context, tensor.name, tensor.bytes, values.mutable_data_ptr());
  return values;
}

}  // namespace

torch::jit::Module build_module(const std::vector<ModuleSource>& modules,
                                const std::map<std::string, at::Tensor>& tensors) {
  c10::NoGradGuard no_grad;
  Shapes shapes;
  for (const auto& [name, tensor] : tensors) shapes.emplace(name, tensor.sizes().vec());
  auto module = make_module(module_tree(modules, shapes), tensors);
  module.eval();
  return module;
}

c10::Device torch_device(int cuda_device) {
  if (cuda_device < 0) return {c10::kCPU};
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(cuda_device)};
}

std::map<std::string, at::Tensor> read_tensors(const torchclip_torch_model& model, const torchclip_program& program,
                                               c10::Device device, c10::ScalarType dtype) {
  std::map<std::string, at::Tensor> tensors;
  for (std::uint64_t i = 0; i < program.tensor_count; ++i) {
    const auto& tensor = program.tensors[i];
    tensors.emplace(tensor.name, read_tensor(model, tensor).to(device, dtype));
  }
  return tensors;
}

torch::jit::Module generate_tower(const torchclip_torch_model& model, const torchclip_program& program,
                                  const std::string& tower, c10::Device device, c10::ScalarType dtype) {
  return build_module(modules_of(program), read_tensors(model, program, device, dtype)).attr(tower).toModule();
}

torch::jit::Module load_trusted(const torchclip_file& file) {
  try {
    auto module = torch::jit::load(file_reader(file), c10::kCPU);
    module.eval();
    for (const char* method : {"encode_image", "encode_text"}) {
      if (!module.find_method(method)) {
        throw Error(TORCHCLIP_E_MODEL_CORRUPT, std::string(file.path) + ": this TorchScript has no method " + method +
                                                   "(), and its weights are of no known layout");
      }
    }
    return module;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    const std::string text = e.what();
    throw Error(TORCHCLIP_E_MODEL_CORRUPT,
                std::string(file.path) + " does not load: " + text.substr(0, text.find('\n')));
  }
}

}  // namespace torchclip::libtorch
