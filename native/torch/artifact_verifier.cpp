#include "artifact_verifier.h"

#include <torch/csrc/jit/passes/canonicalize.h>
#include <torch/csrc/jit/passes/common_subexpression_elimination.h>
#include <torch/csrc/jit/passes/constant_pooling.h>
#include <torch/csrc/jit/serialization/import_source.h>

#include <functional>
#include <map>
#include <sstream>

#include "base/error.h"
#include "libtorch.h"
#include "model/artifact/module_tree.h"
#include "program.h"
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

// Finds the text of a class by its qualified name; null: there is none.
using FindSource = std::function<std::shared_ptr<torch::jit::Source>(const std::string& qualifier)>;

// The code of an archive.
FindSource sources_of(const std::shared_ptr<PyTorchStreamReader>& reader) {
  return [reader](const std::string& qualifier) -> std::shared_ptr<torch::jit::Source> {
    std::string path = "code/" + qualifier;
    std::replace(path.begin(), path.end(), '.', '/');
    path += ".py";
    if (!reader->hasRecord(path)) return nullptr;
    if (reader->getRecordSize(path) > kMostSourceBytes) {
      throw Error(TORCHCLIP_E_MODEL_UNSAFE, "its code has more than 16 MiB");
    }
    const auto [data, bytes] = reader->getRecord(path);
    std::string text(static_cast<const char*>(data.get()), bytes);
    check_nesting(text);
    return std::make_shared<torch::jit::Source>(std::move(text), path, 1);
  };
}

// Compiles classes of some code, and nothing else of it: no object is made, no method runs.
class Code {
 public:
  using Graphs = std::map<std::string, std::string>;

  Code(FindSource source_of, std::uint64_t operator_version)
      : unit_(std::make_shared<torch::jit::CompilationUnit>()),
        importer_(unit_, &constants_, std::move(source_of), operator_version) {}
  explicit Code(const std::shared_ptr<PyTorchStreamReader>& reader) : Code(sources_of(reader), reader->version()) {}

  // The canonical graph of each method of a class, by its name.
  Graphs methods(const std::string& class_name) {
    const auto type = importer_.loadType(c10::QualifiedName(class_name))->cast<c10::ClassType>();
    if (!type) throw Error(TORCHCLIP_E_MODEL_UNSAFE, "its code has no class " + class_name);
    Graphs graphs;
    for (auto* method : type->methods()) graphs[method->name()] = canonical(*method);
    for (const auto* hook : type->getForwardPreHooks()) graphs["hook " + hook->name()] = "";
    for (const auto* hook : type->getForwardHooks()) graphs["hook " + hook->name()] = "";
    return graphs;
  }

 private:
  static std::string canonical(torch::jit::Function& method) {
    auto graph = torch::jit::toGraphFunction(method).graph()->copy();
    torch::jit::EliminateCommonSubexpression(graph);
    torch::jit::ConstantPooling(graph);
    return torch::jit::Canonicalize(graph, false)->toString(false);
  }

  std::vector<at::IValue> constants_;
  std::shared_ptr<torch::jit::CompilationUnit> unit_;
  torch::jit::SourceImporter importer_;
};

// The module that the settings generate, its parameters empty.
torch::jit::Module generated(const torchclip_program& program) {
  std::map<std::string, at::Tensor> tensors;
  for (std::uint64_t i = 0; i < program.tensor_count; ++i) {
    const auto& tensor = program.tensors[i];
    tensors.emplace(tensor.name, tensor.axes == 0 ? at::zeros({}) : at::zeros({1}));
  }
  return build_module(modules_of(program), tensors);
}

// The code of our classes in one text.
Code code_of(std::shared_ptr<torch::jit::Source> source, std::uint64_t operator_version) {
  const auto find = [source = std::move(source)](const std::string& qualifier) {
    return qualifier == kClassNamespace ? source : nullptr;
  };
  return {find, operator_version};
}

// The code that the core's writer of artifacts writes.
Code written_code(const torchclip_torch_code& code) {
  std::string text(code.written, code.written_bytes);
  return code_of(std::make_shared<torch::jit::Source>(std::move(text), "torchclip.py", 1), code.operator_version);
}

// The code that libtorch writes for the same modules, as in the artifacts of former versions. It computes the same, in
// statements of one operator each, and so its graphs have their nodes in another order.
Code printed_code(const torch::jit::Module& module) {
  std::stringstream saved;
  module.save(saved);
  const auto reader = std::make_shared<PyTorchStreamReader>(&saved);
  return code_of(sources_of(reader)(kClassNamespace), reader->version());
}

// Each method must be that of one of the two codes.
void compare(const std::string& class_name, const Code::Graphs& written, const Code::Graphs& printed,
             const Code::Graphs& found) {
  for (const auto& [method, graph] : written) {
    const auto at = found.find(method);
    if (at == found.end() || (at->second != graph && at->second != printed.at(method))) {
      throw Error(TORCHCLIP_E_MODEL_UNSAFE, class_name + "." + method + " is not what torchclip generates");
    }
  }
  for (const auto& [method, graph] : found) {
    if (written.count(method) == 0) {
      throw Error(TORCHCLIP_E_MODEL_UNSAFE, class_name + "." + method + " is nothing that torchclip generates");
    }
  }
}

}  // namespace

void verify_code(const torchclip_torch_code& code) {
  const std::string path = code.file.path;
  try {
    const auto module = generated(code.program);
    auto written = written_code(code), printed = printed_code(module);
    Code found(std::make_shared<PyTorchStreamReader>(file_reader(code.file)));
    for (const auto& part : module.modules()) {
      const auto name = part.type()->name()->qualifiedName();
      compare(name, written.methods(name), printed.methods(name), found.methods(name));
    }
  } catch (const Error& e) {
    throw Error(e.status(), path + ": " + e.what());
  } catch (const std::exception& e) {
    const std::string text = e.what();
    throw Error(TORCHCLIP_E_MODEL_UNSAFE, path + ": its code does not compile: " + text.substr(0, text.find('\n')));
  }
}

}  // namespace torchclip::libtorch
