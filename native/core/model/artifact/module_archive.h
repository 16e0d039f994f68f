// Writes a module of TorchScript as torch.jit.save does: a zip archive of its tensors, its structure and its code.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "model/artifact/module_tree.h"
#include "model/artifact/tensor_source.h"
#include "model/config/attribute.h"

namespace torchclip::core {

struct ModuleArchive {
  std::vector<std::pair<std::string, std::string>> extra_files;  // In extra/: names and contents.
  std::map<std::string, TensorSource> tensors;                   // All tensors of the modules, by dotted path.
  ModuleNode modules;
  std::map<std::string, Attribute> attributes;  // Of the root module.
};

// The shapes of the tensors, as module_tree() takes them.
Shapes shapes_of(const std::map<std::string, TensorSource>& tensors);

// Writes to `path` directly; pass a temporary name and rename the file afterwards. The same contents give the same
// bytes. Throws Error(E_WRITE) if the file cannot be written, and what TensorSource::read throws.
void write_module_archive(const ModuleArchive& archive, const std::string& path);

}  // namespace torchclip::core
