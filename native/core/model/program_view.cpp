#include "model/program_view.h"

#include "backend/edge.h"

namespace torchclip::core {
namespace {

// The modules of a tower with the methods for the pooled feature behind their own.
std::vector<ModuleSource> with_pooled_methods(const TowerLayout& tower) {
  auto modules = tower.modules;
  for (const auto& [path, source] : tower.pooled_methods) {
    for (auto& module : modules) {
      if (module.path == path) module.source += source;
    }
  }
  return modules;
}

std::vector<torchclip_module> c_modules(const std::vector<ModuleSource>& modules) {
  std::vector<torchclip_module> out;
  out.reserve(modules.size());
  for (const auto& [path, source] : modules) out.push_back({path.c_str(), source.c_str()});
  return out;
}

torchclip_tensor c_tensor(const std::string& name, const std::vector<std::int64_t>& shape) {
  return {name.c_str(), shape.data(), static_cast<std::uint32_t>(shape.size()), TORCHCLIP_STORED_F32, 0};
}

std::uint64_t float_bytes(const std::vector<std::int64_t>& shape) {
  std::uint64_t bytes = sizeof(float);
  for (const auto axis : shape) bytes *= static_cast<std::uint64_t>(axis);
  return bytes;
}

std::int32_t c_type(StoredType type) {
  switch (type) {
    case StoredType::f16:
      return TORCHCLIP_STORED_F16;
    case StoredType::bf16:
      return TORCHCLIP_STORED_BF16;
    default:
      return TORCHCLIP_STORED_F32;
  }
}

std::int32_t read_file(void* context, std::uint64_t offset, std::uint64_t bytes, void* to,
                       torchclip_backend_error* error) {
  return guarded(error, [&] { static_cast<const File*>(context)->read(offset, to, static_cast<std::size_t>(bytes)); });
}

}  // namespace

ProgramView::ProgramView(const std::vector<ModuleSource>& modules, const Shapes& shapes)
    : modules_(c_modules(modules)) {
  for (const auto& [name, shape] : shapes) tensors_.push_back(c_tensor(name, shape));
}

ProgramView::ProgramView(const TowerLayout& tower, const Artifact& artifact)
    : own_modules_(with_pooled_methods(tower)), modules_(c_modules(own_modules_)) {
  for (const auto& [name, shape] : tower.shapes) {
    const auto stored = artifact.tensors().find(name);
    if (stored == artifact.tensors().end()) {
      tensors_.push_back(c_tensor(name, shape));
      tensors_.back().bytes = float_bytes(shape);
      continue;
    }
    auto tensor = c_tensor(name, stored->second.shape);
    tensor.type = c_type(stored->second.type);
    tensor.bytes = stored->second.bytes;
    tensors_.push_back(tensor);
  }
}

torchclip_file file_view(const File& file) {
  return {file.path().c_str(), file.size(), const_cast<File*>(&file), read_file};
}

}  // namespace torchclip::core
