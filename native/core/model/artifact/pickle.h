// The object tree of a TorchScript archive's data.pkl, read as data. Only the opcodes that libtorch's pickler writes
// are known (torch/csrc/jit/serialization/pickler.cpp); nothing is imported or called.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/config/attribute.h"

namespace torchclip::core {

// A tensor as the pickle describes it. Nothing here has been compared with the archive's records yet.
struct PickledTensor {
  std::string storage;                // the record data/<storage>
  std::string dtype;                  // "Float", "Half", "BFloat16" ...: the name of the storage's class
  std::int64_t storage_elements = 0;  // of the whole storage
  std::int64_t offset = 0;            // elements before the first
  std::vector<std::int64_t> shape, strides;
};

struct PickledModule {
  std::map<std::string, PickledTensor> tensors;        // by dotted path, e.g. "visual.conv1.weight"
  std::map<std::string, PickledAttribute> attributes;  // of the root module alone
};

// Reads the module tree of `pickle`. Time and memory are proportional to its length; nothing recurses by its depth.
// Throws Error(E_MODEL_CORRUPT) where it is cut, names an opcode or a class outside the known ones, nests modules
// deeper than 32, or reaches an object twice.
PickledModule read_module_pickle(std::string_view pickle);

}  // namespace torchclip::core
