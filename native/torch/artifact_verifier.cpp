#include "model/artifact_verifier.h"

#include <torch/csrc/jit/passes/canonicalize.h>
#include <torch/csrc/jit/passes/common_subexpression_elimination.h>
#include <torch/csrc/jit/passes/constant_pooling.h>
#include <torch/csrc/jit/serialization/import_source.h>

#include <map>
#include <sstream>

#include "base/error.h"
#include "functions.h"
#include "libtorch.h"
#include "model/artifact/artifact.h"
#include "torch_module.h"

namespace torchclip::libtorch {
namespace {

using caffe2::serialize::PyTorchStreamReader;

constexpr std::size_t kMostSourceBytes = 16 << 20;
constexpr int kDeepestNesting = 64;
constexpr std::size_t kLongestStatement = 1 << 14;

// libtorch's parser recurses by the nesting of brackets and by the length of expressions: a text that could exhaust
// the stack is refused before. Generated code stays far below these limits.
void check_nesting(const std::string& source) {
  int depth = 0;
  std::size_t statement = 0;
  for (const char c : source) {
    if (c == '(' || c == '[' || c == '{') ++depth;
    if (c == ')' || c == ']' || c == '}') --depth;
    statement = c == '\n' && depth <= 0 ? 0 : statement + 1;
    if (depth > kDeepestNesting || statement > kLongestStatement) {
      throw Error(TORCHCLIP_E_MODEL_UNSAFE, "its code has a statement deeper or longer than torchclip generates");
    }
  }
}

// Compiles classes of the archive's code, and nothing else of it: no object is made, no method runs.
class Code {
 public:
  explicit Code(std::unique_ptr<PyTorchStreamReader> reader)
      : reader_(std::move(reader)),
        unit_(std::make_shared<torch::jit::CompilationUnit>()),
        importer_(
            unit_, &constants_, [this](const std::string& qualifier) { return source_of(qualifier); },
            reader_->version()) {}

  // The canonical graph of each method of a class, by its name.
  std::map<std::string, std::string> methods(const std::string& class_name) {
    const auto type = importer_.loadType(c10::QualifiedName(class_name))->cast<c10::ClassType>();
    if (!type) throw Error(TORCHCLIP_E_MODEL_UNSAFE, "its code has no class " + class_name);
    std::map<std::string, std::string> graphs;
    for (auto* method : type->methods()) graphs[method->name()] = canonical(*method);
    for (const auto* hook : type->getForwardPreHooks()) graphs["hook " + hook->name()] = "";
    for (const auto* hook : type->getForwardHooks()) graphs["hook " + hook->name()] = "";
    return graphs;
  }

 private:
  std::shared_ptr<torch::jit::Source> source_of(const std::string& qualifier) {
    std::string path = "code/" + qualifier;
    std::replace(path.begin(), path.end(), '.', '/');
    path += ".py";
    if (!reader_->hasRecord(path)) return nullptr;
    if (reader_->getRecordSize(path) > kMostSourceBytes) {
      throw Error(TORCHCLIP_E_MODEL_UNSAFE, "its code has more than 16 MiB");
    }
    const auto [data, bytes] = reader_->getRecord(path);
    std::string text(static_cast<const char*>(data.get()), bytes);
    check_nesting(text);
    return std::make_shared<torch::jit::Source>(std::move(text), path, 1);
  }

  static std::string canonical(torch::jit::Function& method) {
    auto graph = torch::jit::toGraphFunction(method).graph()->copy();
    torch::jit::EliminateCommonSubexpression(graph);
    torch::jit::ConstantPooling(graph);
    return torch::jit::Canonicalize(graph, false)->toString(false);
  }

  std::unique_ptr<PyTorchStreamReader> reader_;
  std::vector<at::IValue> constants_;
  std::shared_ptr<torch::jit::CompilationUnit> unit_;
  torch::jit::SourceImporter importer_;
};

// The module that the settings generate, its parameters empty.
torch::jit::Module generated(const ModelConfig& config) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, shape] : config.shapes()) {
    tensors.emplace(name, shape.empty() ? at::zeros({}) : at::zeros({1}));
  }
  return build_module(config.modules(), tensors);
}

void compare(const std::string& class_name, Code& expected, Code& found) {
  const auto own = expected.methods(class_name), theirs = found.methods(class_name);
  for (const auto& [method, graph] : own) {
    const auto at = theirs.find(method);
    if (at == theirs.end() || at->second != graph) {
      throw Error(TORCHCLIP_E_MODEL_UNSAFE, class_name + "." + method + " is not what torchclip generates");
    }
  }
  for (const auto& [method, graph] : theirs) {
    if (own.count(method) == 0) {
      throw Error(TORCHCLIP_E_MODEL_UNSAFE, class_name + "." + method + " is nothing that torchclip generates");
    }
  }
}

}  // namespace

void verify_artifact(const std::string& path) {
  const Artifact artifact(path);
  if (artifact.config().third_party) {
    throw Error(TORCHCLIP_E_ARGUMENT, path + " has code of its own, which nothing can be compared with");
  }
  try {
    auto module = generated(artifact.config());
    std::stringstream saved;
    module.save(saved);
    Code expected(std::make_unique<PyTorchStreamReader>(&saved));
    Code found(std::make_unique<PyTorchStreamReader>(file_reader(artifact.shared_file())));
    for (const auto& part : module.modules()) compare(part.type()->name()->qualifiedName(), expected, found);
  } catch (const Error& e) {
    throw Error(e.status(), path + ": " + e.what());
  } catch (const std::exception& e) {
    const std::string text = e.what();
    throw Error(TORCHCLIP_E_MODEL_UNSAFE, path + ": its code does not compile: " + text.substr(0, text.find('\n')));
  }
}

}  // namespace torchclip::libtorch
