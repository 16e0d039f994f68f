#include "torch_module.h"

#include <memory>

#include "base/error.h"

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

bool is_buffer(const std::string& name, const at::Tensor& tensor) {
  return tensor.dim() == 0 || name.ends_with(".running_mean") || name.ends_with(".running_var");
}

struct Node {
  torch::jit::Module module;
  std::vector<std::pair<std::string, std::unique_ptr<Node>>> children;

  explicit Node(const std::string& path)
      : module(c10::QualifiedName("__torch__.torchclip." + (path.empty() ? "CLIP" : "m_" + path))) {}
};

// The tree of modules named by dotted paths; made first, filled, then joined from the leaves up, because a
// child's type must be whole when its parent registers it.
class Tree {
 public:
  Node& at(const std::string& path) {
    Node* node = &root_;
    std::string so_far;
    for (std::size_t start = 0; start < path.size();) {
      const auto end = std::min(path.find('.', start), path.size());
      const auto name = path.substr(start, end - start);
      so_far += (so_far.empty() ? "" : "_") + name;
      Node* next = nullptr;
      for (auto& [child_name, child] : node->children) {
        if (child_name == name) next = child.get();
      }
      if (!next) {
        node->children.emplace_back(name, std::make_unique<Node>(so_far));
        next = node->children.back().second.get();
      }
      node = next;
      start = end + 1;
    }
    return *node;
  }

  torch::jit::Module join(const std::map<std::string, std::string>& sources) { return join(root_, "", sources); }

 private:
  static torch::jit::Module join(Node& node, const std::string& path,
                                 const std::map<std::string, std::string>& sources) {
    for (auto& [name, child] : node.children) {
      node.module.register_module(name, join(*child, path.empty() ? name : path + "." + name, sources));
    }
    const auto source = sources.find(path);
    if (source != sources.end()) node.module.define(source->second);
    return node.module;
  }

  Node root_{""};
};

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

}  // namespace

torch::jit::Module build_module(const std::vector<ModuleSource>& modules,
                                const std::map<std::string, at::Tensor>& tensors) {
  c10::NoGradGuard no_grad;
  Tree tree;
  std::map<std::string, std::string> sources;
  for (const auto& module : modules) {
    tree.at(module.path);
    sources[module.path] = module.source;
  }
  for (const auto& [name, tensor] : tensors) {
    const auto dot = name.rfind('.');
    const bool nested = dot != std::string::npos;
    auto& owner = tree.at(nested ? name.substr(0, dot) : "").module;
    const auto own_name = nested ? name.substr(dot + 1) : name;
    if (is_buffer(name, tensor)) {
      owner.register_buffer(own_name, tensor);
    } else {
      owner.register_parameter(own_name, tensor, false);
    }
  }
  auto module = tree.join(sources);
  module.eval();
  return module;
}

at::Tensor read_tensor(const Artifact& artifact, const StoredTensor& tensor) {
  auto values = at::empty(tensor.shape, scalar_type(tensor.type));
  artifact.read_bytes(tensor, values.mutable_data_ptr());
  return values;
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
