// Models and files of the core as the structs of the table that the libtorch backend takes (backend/torch_table.h).
#pragma once

#include <vector>

#include "backend/torch_table.h"
#include "base/file.h"
#include "model/artifact/artifact.h"
#include "model/config/layout.h"

namespace torchclip::core {

// Modules and tensors; refers to what it is made of, which must outlive it.
class ProgramView {
 public:
  ProgramView() = default;  // Without modules.
  // A copy would refer to the modules of the first one.
  ProgramView(ProgramView&&) = default;
  ProgramView& operator=(ProgramView&&) = default;
  // Tensors without types.
  ProgramView(const std::vector<ModuleSource>& modules, const Shapes& shapes);
  // A tower with its methods for the pooled feature, its tensors as `artifact` stores them. Those that it does not
  // have, of adapters, are float32.
  ProgramView(const TowerLayout& tower, const Artifact& artifact);

  torchclip_program view() const { return {modules_.data(), modules_.size(), tensors_.data(), tensors_.size()}; }

 private:
  std::vector<ModuleSource> own_modules_;  // Of a tower: those of its layout, with the methods for the pooled feature.
  std::vector<torchclip_module> modules_;
  std::vector<torchclip_tensor> tensors_;
};

// A file whose `read` throws nothing and reports what File throws.
torchclip_file file_view(const File& file);

}  // namespace torchclip::core
