#include "model/artifact/writer.h"

#include <map>
#include <utility>

#include "base/error.h"
#include "model/artifact/module_archive.h"
#include "model/artifact/module_tree.h"
#include "model/config/model_config.h"

namespace torchclip::core {
namespace {

std::map<std::string, TensorSource> open_sources(const ArtifactSpec& spec) {
  WeightFiles files;
  std::map<std::string, TensorSource> sources;
  for (const auto& tensor : spec.tensors) {
    if (!sources.emplace(tensor.name, TensorSource(tensor, files)).second) {
      throw Error(TORCHCLIP_E_MODEL_CORRUPT, "the tensor " + tensor.name + " is given twice");
    }
  }
  return sources;
}

}  // namespace

void write_artifact(const ArtifactSpec& spec, const std::string& path) {
  const auto config = ModelConfig::parse(spec.config);
  auto sources = open_sources(spec);
  const auto shapes = shapes_of(sources);
  config.check_shapes(shapes);
  ModuleArchive archive;
  archive.extra_files = {{"torchclip.json", spec.config}, {"tokenizer.json", spec.tokenizer}};
  archive.tensors = std::move(sources);
  archive.modules = module_tree(config.modules(), shapes);
  archive.attributes = config.attributes();
  write_module_archive(archive, path);
}

}  // namespace torchclip::core
