// data.pkl of an artifact: the objects of its modules as torch.jit.save writes them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/artifact/module_tree.h"
#include "model/artifact/stored_type.h"
#include "model/config/attribute.h"

namespace torchclip::core {

// A tensor whose values lie in a record of their own, row by row.
struct RecordedTensor {
  std::size_t record = 0;  // The values lie in data/<record>.
  StoredType type = StoredType::f32;
  std::vector<std::int64_t> shape;
};

// Returns the pickle of the root module. `tensors` has each tensor of the tree by its dotted path; the attributes are
// the root's.
std::string module_pickle(const ModuleNode& root, const std::map<std::string, Attribute>& attributes,
                          const std::map<std::string, RecordedTensor>& tensors);

}  // namespace torchclip::core
