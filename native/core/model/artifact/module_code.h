// The code of an artifact: the classes of its modules in the form in which torch.jit.save writes them.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "model/artifact/module_tree.h"
#include "model/config/attribute.h"

namespace torchclip::core {

// The version of the operators that the code calls (caffe2/serialize/versions.h). With an older one, libtorch would
// read torch.gelu, torch.div and others as what they once were.
constexpr std::uint64_t kOperatorVersion = 10;

// Returns the text of code/__torch__/torchclip.py, which torch.jit.load parses. Each module becomes a class: its
// tensors, the attributes (of the root alone) and its children are declared with their types, and its methods follow as
// the layouts generate them, indented. libtorch itself prints the methods from their graphs, one operator a line; its
// parser takes the generated text as well (torch/csrc/jit/serialization/import_source.cpp, `importClass`), since
// methods of a class are compiled as those that Module::define() is given.
std::string module_code(const ModuleNode& root, const std::map<std::string, Attribute>& attributes);

}  // namespace torchclip::core
