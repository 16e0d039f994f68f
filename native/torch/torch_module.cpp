#include "torch_module.h"

#include <memory>

#include "base/error.h"
#include "model/artifact/module_tree.h"

namespace torchclip::libtorch {
namespace {

c10::ScalarType scalar_type(StoredType type) {
  switch (type) {
    case StoredType::f16:
      return at::kHalf;
    case StoredType::bf16:
      return at::kBFloat16;
    default:
      return at::kFloat;
  }
}

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

class FileReader final : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit FileReader(std::shared_ptr<const File> file) : file_(std::move(file)) {}

  std::size_t size() const override { return static_cast<std::size_t>(file_->size()); }

  std::size_t read(std::uint64_t position, void* buffer, std::size_t bytes, const char*) const override {
    if (position >= file_->size()) return 0;
    const auto count = std::min<std::uint64_t>(bytes, file_->size() - position);
    file_->read(position, buffer, static_cast<std::size_t>(count));
    return static_cast<std::size_t>(count);
  }

 private:
  std::shared_ptr<const File> file_;
};

// A tensor of the artifact in the type in which it is stored.
at::Tensor read_tensor(const Artifact& artifact, const StoredTensor& tensor) {
  auto values = at::empty(tensor.shape, scalar_type(tensor.type));
  artifact.read_bytes(tensor, values.mutable_data_ptr());
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

torch::jit::Module generate_tower(const Artifact& artifact, const std::string& tower, c10::Device device,
                                  c10::ScalarType dtype) {
  const auto& config = artifact.config();
  const auto& layout = tower == "visual" ? config.image : config.text;
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, shape] : layout.shapes) {
    tensors.emplace(name, read_tensor(artifact, artifact.tensors().at(name)).to(device, dtype));
  }
  return build_module(layout.modules, tensors).attr(tower).toModule();
}

std::shared_ptr<caffe2::serialize::ReadAdapterInterface> file_reader(std::shared_ptr<const File> file) {
  return std::make_shared<FileReader>(std::move(file));
}

torch::jit::Module load_trusted(const std::shared_ptr<const File>& file) {
  try {
    auto module = torch::jit::load(file_reader(file), c10::kCPU);
    module.eval();
    for (const char* method : {"encode_image", "encode_text"}) {
      if (!module.find_method(method)) {
        throw Error(TORCHCLIP_E_MODEL_CORRUPT, file->path() + ": this TorchScript has no method " + method +
                                                   "(), and its weights are of no known layout");
      }
    }
    return module;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    const std::string text = e.what();
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, file->path() + " does not load: " + text.substr(0, text.find('\n')));
  }
}

}  // namespace torchclip::libtorch
