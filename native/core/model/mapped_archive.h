// A TorchScript archive whose large tensors stay in the file: it is mapped into memory, and libtorch, which would copy
// them, is given untouched pages instead. Whoever needs a tensor takes it from the mapping.
#pragma once

#include <memory>
#include <string>

#include "model/torch.h"

namespace torchclip::core {

class MappedArchive {
 public:
  // Throws Error(E_MODEL_CORRUPT) where the file cannot be mapped.
  explicit MappedArchive(const std::string& path);
  ~MappedArchive();

  // As torch::jit::load to the CPU; the large tensors' own memory means nothing. Throws Error(E_MODEL_CORRUPT) where a
  // tensor is said to be larger than what the archive holds for it.
  torch::jit::Module load(torch::jit::ExtraFilesMap& extra);

  // The tensor with its values: over the mapping where it is large, else itself. `keep` must outlive it.
  at::Tensor values(const at::Tensor& tensor) const;
  // What keeps the mapping.
  std::shared_ptr<const void> keep() const;

  // Copies the values of what is still large and unread into the tensors of the module.
  void fill(torch::jit::Module& module) const;

 private:
  class Adapter;
  std::shared_ptr<Adapter> adapter_;
};

}  // namespace torchclip::core
