// The modules of a model as TorchScript has them: a tree whose nodes own tensors, by the dotted paths of the tensors
// and of the sources.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/config/layout.h"

namespace torchclip::core {

struct ModuleNode {
  std::string path;                              // "" is the root.
  std::string class_name;                        // Without kClassNamespace.
  std::string source;                            // Its methods, as the layouts give them; empty: none.
  std::vector<std::string> parameters, buffers;  // The names of its own tensors.
  std::vector<std::pair<std::string, ModuleNode>> children;
};

// The classes lie in the Python module of that name.
constexpr const char* kClassNamespace = "__torch__.torchclip";

// Makes the tree of the modules that have a source or hold a tensor of `shapes`, and of those above them.
ModuleNode module_tree(const std::vector<ModuleSource>& modules, const Shapes& shapes);

// The dotted path of what belongs to a module.
std::string path_below(const ModuleNode& module, const std::string& name);

}  // namespace torchclip::core
