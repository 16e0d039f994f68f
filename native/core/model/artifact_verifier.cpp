#include "model/artifact_verifier.h"

#include "backend/edge.h"
#include "model/artifact/artifact.h"
#include "model/artifact/module_code.h"
#include "model/artifact/module_tree.h"
#include "model/program_view.h"
#include "model/torch_library.h"

namespace torchclip::core {

void verify_artifact(const std::string& path) {
  const Artifact artifact(path);
  const auto& config = artifact.config();
  if (config.third_party) {
    throw Error(TORCHCLIP_E_ARGUMENT, path + " has code of its own, which nothing can be compared with");
  }
  const auto modules = config.modules();
  const auto shapes = config.shapes();
  const auto written = module_code(module_tree(modules, shapes), config.attributes());
  const ProgramView program(modules, shapes);
  torchclip_torch_code code{};
  code.size = sizeof code;
  code.file = file_view(artifact.file());
  code.program = program.view();
  code.written = written.data();
  code.written_bytes = written.size();
  code.operator_version = kOperatorVersion;
  call(torch_table("comparing the code of an artifact").verify_code, &code);
}

}  // namespace torchclip::core
