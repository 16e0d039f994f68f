#include "model/artifact/module_tree.h"

#include <algorithm>

namespace torchclip::core {
namespace {

std::string class_name_of(const std::string& path) {
  if (path.empty()) return "CLIP";
  std::string name = "m_" + path;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

// As in the published models: a scalar, as the logit scale, is a buffer, and so are the statistics of batch norms.
bool is_buffer(const std::string& name, const std::vector<std::int64_t>& shape) {
  return shape.empty() || name == "running_mean" || name == "running_var";
}

ModuleNode& child_of(ModuleNode& node, const std::string& name) {
  for (auto& [child_name, child] : node.children) {
    if (child_name == name) return child;
  }
  ModuleNode child;
  child.path = path_below(node, name);
  child.class_name = class_name_of(child.path);
  return node.children.emplace_back(name, std::move(child)).second;
}

ModuleNode& node_at(ModuleNode& root, const std::string& path) {
  ModuleNode* node = &root;
  for (std::size_t start = 0; start < path.size();) {
    const auto end = std::min(path.find('.', start), path.size());
    node = &child_of(*node, path.substr(start, end - start));
    start = end + 1;
  }
  return *node;
}

}  // namespace

std::string path_below(const ModuleNode& module, const std::string& name) {
  return module.path.empty() ? name : module.path + "." + name;
}

ModuleNode module_tree(const std::vector<ModuleSource>& modules, const Shapes& shapes) {
  ModuleNode root;
  root.class_name = class_name_of("");
  for (const auto& [path, source] : modules) node_at(root, path).source = source;
  for (const auto& [path, shape] : shapes) {
    const auto dot = path.rfind('.');
    const auto name = dot == std::string::npos ? path : path.substr(dot + 1);
    auto& owner = node_at(root, dot == std::string::npos ? "" : path.substr(0, dot));
    (is_buffer(name, shape) ? owner.buffers : owner.parameters).push_back(name);
  }
  return root;
}

}  // namespace torchclip::core
