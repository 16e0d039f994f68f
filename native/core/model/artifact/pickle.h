// Reads the object tree of a TorchScript archive's data.pkl as data. Only the opcodes that libtorch's pickler writes
// are known (torch/csrc/jit/serialization/pickler.cpp); nothing is imported or called.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/config/attribute.h"

namespace torchclip::core {

// A tensor as the pickle describes it. It has not been compared with the archive's records yet.
struct PickledTensor {
  std::string storage;                // The record data/<storage>.
  std::string dtype;                  // The name of the storage's class: "Float", "Half", "BFloat16" ...
  std::int64_t storage_elements = 0;  // Of the whole storage.
  std::int64_t offset = 0;            // The elements before the first one.
  std::vector<std::int64_t> shape, strides;
};

struct PickledModule {
  std::map<std::string, PickledTensor> tensors;        // By dotted path, e.g. "visual.conv1.weight".
  std::map<std::string, PickledAttribute> attributes;  // Of the root module only.
};

// Reads the module tree of `pickle`. Time and memory are proportional to its length, and nothing recurses by its depth.
// Throws Error(E_MODEL_CORRUPT) if it is truncated, contains an unknown opcode or class, nests modules deeper than 32
// levels, or reaches an object twice.
PickledModule read_module_pickle(std::string_view pickle);

}  // namespace torchclip::core
