#include "model/artifact/tower_module.h"

#include <utility>

#include "base/error.h"
#include "model/artifact/artifact.h"
#include "model/artifact/module_archive.h"

namespace torchclip::core {
namespace {

const char* dtype_name(StoredType type) {
  switch (type) {
    case StoredType::f32:
      return "F32";
    case StoredType::f16:
      return "F16";
    case StoredType::bf16:
      return "BF16";
  }
  return "";
}

// The number of a type in TorchScript's code (c10/core/ScalarType.h).
const char* scalar_type(StoredType type) {
  switch (type) {
    case StoredType::f32:
      return "6";
    case StoredType::f16:
      return "5";
    case StoredType::bf16:
      return "15";
  }
  return "";
}

// The method of the root module: pixels are normalised in float32 and converted to the type of the weights; the
// embeddings have length 1.
std::string root_source(TowerKind tower, StoredType type) {
  const std::string head = "\ndef forward(self, input: Tensor) -> Tensor:\n";
  const std::string pixels =
      "    mean = torch.tensor(self.image_mean, dtype=6, device=input.device)\n"
      "    std = torch.tensor(self.image_std, dtype=6, device=input.device)\n"
      "    pixels = torch.div(torch.sub(torch.div(torch.to(input, 6), 255.0), mean), std)\n"
      "    planes = torch.to(torch.permute(pixels, [0, 3, 1, 2]), " +
      std::string(scalar_type(type)) +
      ")\n"
      "    features = torch.to(self.visual.forward(torch.contiguous(planes)), 6)\n";
  const std::string text = "    features = torch.to(self.text.forward(input), 6)\n";
  const std::string tail = "    return torch.div(features, torch.norm(features, 2, [-1], True))\n";
  return head + (tower == TowerKind::image ? pixels : text) + tail;
}

// The attributes of the root module that its method reads.
std::map<std::string, Attribute> root_attributes(const ModelConfig& config, TowerKind tower) {
  if (tower == TowerKind::text) return {};
  auto all = config.attributes();
  return {{"image_mean", all.at("image_mean")}, {"image_std", all.at("image_std")}};
}

// The tensors of the tower, converted to `type`.
std::map<std::string, TensorSource> tensors_below(const Artifact& artifact, const std::string& path,
                                                  const std::string& prefix, StoredType type) {
  WeightFiles files;
  std::map<std::string, TensorSource> sources;
  for (const auto& [name, tensor] : artifact.tensors()) {
    if (name.rfind(prefix, 0) != 0) continue;
    const TensorPart part{path, tensor.offset, tensor.bytes, dtype_name(tensor.type), tensor.shape};
    sources.emplace(name, TensorSource({name, {part}, dtype_name(type)}, files));
  }
  return sources;
}

}  // namespace

void write_tower_module(const std::string& path, TowerKind tower, StoredType type, const std::string& output) {
  const Artifact artifact(path);
  const auto& config = artifact.config();
  if (config.third_party) {
    throw Error(TORCHCLIP_E_ARGUMENT,
                path + ": a third-party TorchScript export has code of its own, from which no tower can be taken");
  }
  const bool is_image = tower == TowerKind::image;
  ModuleArchive archive;
  archive.tensors = tensors_below(artifact, path, is_image ? "visual." : "text.", type);
  auto modules = is_image ? config.image.modules : config.text.modules;
  modules.push_back({"", root_source(tower, type)});
  archive.modules = module_tree(modules, shapes_of(archive.tensors));
  archive.attributes = root_attributes(config, tower);
  write_module_archive(archive, output);
}

}  // namespace torchclip::core
