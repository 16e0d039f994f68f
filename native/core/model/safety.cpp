#include "model/safety.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "model/torch.h"
#include "runtime/error.h"

namespace torchclip::core {
namespace {

using torch::jit::Apply;
using torch::jit::Select;
using torch::jit::TreeRef;
using torch::jit::Var;
using Names = std::unordered_set<std::string>;

// torch.NAME(...): pure functions of tensors and scalars, none of which touches files, processes or global state.
const Names kOperators = {
    "__and__",
    "__contains__",
    "__derive_index",
    "__getitem__",
    "__is__",
    "__isnot__",
    "__not__",
    "__or__",
    "__range_length",
    "_convolution",
    "abs",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "add",
    "add_",
    "addmm",
    "all",
    "any",
    "append",
    "arange",
    "argmax",
    "avg_pool2d",
    "baddbmm",
    "batch_norm",
    "bmm",
    "cat",
    "chunk",
    "clamp",
    "clamp_min",
    "clone",
    "constant_pad_nd",
    "contiguous",
    "conv1d",
    "conv2d",
    "cos",
    "cumsum",
    "detach",
    "dim",
    "div",
    "div_",
    "dropout",
    "einsum",
    "embedding",
    "empty",
    "eq",
    "exp",
    "expand",
    "expand_as",
    "eye",
    "fill_",
    "flatten",
    "floor_divide",
    "floordiv",
    "full",
    "full_like",
    "gather",
    "ge",
    "gelu",
    "gelu_",
    "group_norm",
    "gt",
    "hardtanh",
    "index",
    "index_select",
    "layer_norm",
    "le",
    "leaky_relu",
    "len",
    "linear",
    "log",
    "log_softmax",
    "lt",
    "masked_fill",
    "masked_fill_",
    "matmul",
    "max",
    "max_pool2d",
    "mean",
    "min",
    "mish",
    "mul",
    "mul_",
    "multi_head_attention_forward",
    "narrow",
    "ne",
    "neg",
    "new_full",
    "new_zeros",
    "norm",
    "normalize",
    "ones",
    "ones_like",
    "pad",
    "permute",
    "pixel_shuffle",
    "pow",
    "reciprocal",
    "relu",
    "relu_",
    "remainder",
    "repeat",
    "repeat_interleave",
    "reshape",
    "roll",
    "rsqrt",
    "rsub",
    "scaled_dot_product_attention",
    "scatter",
    "select",
    "sigmoid",
    "silu",
    "silu_",
    "sin",
    "size",
    "slice",
    "softmax",
    "softplus",
    "split",
    "split_with_sizes",
    "sqrt",
    "squeeze",
    "squeeze_",
    "stack",
    "std",
    "sub",
    "sub_",
    "sum",
    "t",
    "tanh",
    "to",
    "topk",
    "transpose",
    "tril",
    "triu",
    "type_as",
    "unbind",
    "unflatten",
    "unfold",
    "unsqueeze",
    "unsqueeze_",
    "upsample_bicubic2d",
    "upsample_bilinear2d",
    "var",
    "view",
    "view_as",
    "where",
    "zeros",
    "zeros_like",
    "_softmax",
    "_shape_as_tensor",
    "bitwise_not",
    "logical_not",
    "logical_and",
    "logical_or",
    "floor",
    "ceil",
    "round",
    "format",
    "warn",
    "extend",
    "copy_",
};
const Names kPrims = {"NumToTensor", "min",     "max",    "abs",       "device", "dtype",         "unchecked_cast",
                      "data",        "is_cuda", "layout", "rangelist", "grad",   "RaiseException"};
// Plain names of the language itself.
const Names kBuiltins = {"int",
                         "float",
                         "bool",
                         "str",
                         "len",
                         "range",
                         "annotate",
                         "getattr",
                         "hasattr",
                         "isinstance",
                         "unchecked_cast",
                         "uninitialized",
                         "min",
                         "max",
                         "abs",
                         "Exception",
                         "AssertionError",
                         "zip",
                         "enumerate",
                         "tuple",
                         "list",
                         "unpackTuple",
                         "dict"};

// On the list, or the in-place form of an operator that is ("silu_").
bool allowed(const std::string& name) {
  return kOperators.count(name) || (name.size() > 1 && name.back() == '_' && name[name.size() - 2] != '_' &&
                                    kOperators.count(name.substr(0, name.size() - 1)));
}

class Checker {
 public:
  explicit Checker(const std::string& name, const Names& methods) : name_(name), methods_(methods) {}

  void walk(const TreeRef& tree) {
    if (!tree) return;
    if (tree->kind() == torch::jit::TK_DEF) {
      aliases_.clear();
      Names others;
      gather(tree, others);
      for (const auto& name : others) aliases_.erase(name);
    }
    if (tree->kind() == torch::jit::TK_APPLY) call(Apply(tree));
    if (tree->kind() == '.') attribute(Select(tree));
    if (!tree->isAtom()) {
      for (const auto& child : tree->trees()) walk(child);
    }
  }

  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(TORCHCLIP_E_MODEL_UNSAFE,
                name_ + ": " + what + ", which is not on the list of allowed tensor operators");
  }

 private:
  static bool dunder(std::string_view n) {
    return n.size() > 4 && n.substr(0, 2) == "__" && n.substr(n.size() - 2) == "__";
  }

  static bool of_archive(const std::string& path) {
    return path.rfind("__torch__.", 0) == 0 && path.rfind("__torch__.torch.classes", 0) != 0;
  }

  static void variables(const TreeRef& tree, Names& names) {
    if (tree->kind() == torch::jit::TK_VAR) names.insert(Var(tree).name().name());
    if (tree->isAtom()) return;
    for (const auto& child : tree->trees()) variables(child, names);
  }

  // Names of a function that stand for functions of this archive (`_0 = __torch__.torch.nn.functional.gelu`), into
  // aliases_, and all others that something is assigned to.
  void gather(const TreeRef& tree, Names& others) {
    switch (tree->kind()) {
      case torch::jit::TK_ASSIGN: {
        const torch::jit::Assign assign(tree);
        const bool plain = assign.lhs_list().size() == 1 && assign.lhs_list()[0].tree()->kind() == torch::jit::TK_VAR;
        const bool alias = plain && assign.rhs().present() && of_archive(dotted(assign.rhs().get().tree()));
        for (const auto& left : assign.lhs_list()) variables(left.tree(), alias ? aliases_ : others);
        break;
      }
      case torch::jit::TK_AUG_ASSIGN:
        variables(torch::jit::AugAssign(tree).lhs().tree(), others);
        break;
      case torch::jit::TK_FOR:
        variables(torch::jit::For(tree).targets().tree(), others);
        break;
      case torch::jit::TK_LIST_COMP:
        variables(torch::jit::ListComp(tree).target().tree(), others);
        break;
      case torch::jit::TK_DICT_COMP:
      case torch::jit::TK_WITH:
        variables(tree, others);  // more than its targets: calls of any name in it are then refused
        break;
      case torch::jit::TK_PARAM:
        others.insert(torch::jit::Param(tree).ident().name());
        break;
      default:
        break;
    }
    if (tree->isAtom()) return;
    for (const auto& child : tree->trees()) gather(child, others);
  }

  // "ops.prim.NumToTensor" for a chain of names, "" where the chain starts at another expression.
  static std::string dotted(const TreeRef& tree) {
    if (tree->kind() == torch::jit::TK_VAR) return Var(tree).name().name();
    if (tree->kind() != '.') return "";
    const Select s(tree);
    const std::string head = dotted(s.value().tree());
    return head.empty() ? "" : head + "." + s.selector().name();
  }

  void call(const Apply& apply) const {
    const auto callee = apply.callee().tree();
    if (callee->kind() == torch::jit::TK_VAR) {
      const auto name = Var(callee).name().name();
      if (!kBuiltins.count(name) && !aliases_.count(name)) refuse("calls " + name + "()");
      return;
    }
    if (callee->kind() != '.') return;  // a call of an expression: its parts are walked on their own
    const std::string path = dotted(callee);
    const std::string last = Select(callee).selector().name();
    if (path.rfind("torch.", 0) == 0) {
      if (path != "torch." + last || !allowed(last)) {
        // Older exports write torch.nn.functional-style paths; none of them is a plain operator.
        refuse("calls " + path + "()");
      }
    } else if (path.rfind("ops.", 0) == 0) {
      const bool prim = path == "ops.prim." + last && kPrims.count(last);
      const bool aten = path == "ops.aten." + last && allowed(last);
      if (!prim && !aten) refuse("calls " + path + "()");
    } else if (path.rfind("__torch__.", 0) == 0) {
      // A function or class of this archive, whose source is checked as well.
      if (path.rfind("__torch__.torch.classes", 0) == 0) refuse("uses the custom class " + path);
    } else if (!allowed(last)) {
      // A method: one that the archive defines, unless an operator of that name could be meant instead.
      const bool shadowed = !torch::jit::getAllOperatorsFor(c10::Symbol::fromQualString("aten::" + last)).empty();
      if (!methods_.count(last) || shadowed) refuse("calls the method " + last + "()");
    }
  }

  void attribute(const Select& select) const {
    const std::string path = dotted(select.tree());
    if (path.rfind("__torch__.torch.classes", 0) == 0) refuse("uses the custom class " + path);
    if (path == "torch.classes" || path == "torch.ops") refuse("uses " + path);
  }

  std::string name_;
  const Names& methods_;
  Names aliases_;  // of the function that is walked
};

struct File {
  std::string name;
  std::vector<TreeRef> trees;
};

File parse(const std::string& name, const std::string& source) {
  File file{name, {}};
  try {
    torch::jit::Parser parser(std::make_shared<torch::jit::Source>(source, name, 1));
    auto& lexer = parser.lexer();
    while (lexer.cur().kind != torch::jit::TK_EOF) {
      if (lexer.cur().kind == torch::jit::TK_CLASS_DEF) {
        file.trees.push_back(parser.parseClass());
      } else if (lexer.cur().kind == torch::jit::TK_DEF) {
        file.trees.push_back(parser.parseFunction(false));
      } else {
        throw Error(TORCHCLIP_E_MODEL_UNSAFE,
                    name + ": has a statement outside classes and functions: " + lexer.cur().text());
      }
    }
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    const std::string text = e.what();
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, name + ": its code cannot be parsed: " + text.substr(0, text.find('\n')));
  }
  return file;
}

void collect_methods(const TreeRef& tree, const std::string& file, Names& methods) {
  if (tree->kind() == torch::jit::TK_DEF) {
    const auto name = torch::jit::Def(tree).name().name();
    // Scripted nn.Sequential and nn.ModuleList have a __len__, which runs only where it is called; its body is checked
    // too.
    if (name.rfind("__", 0) == 0 && name != "__len__") {
      throw Error(TORCHCLIP_E_MODEL_UNSAFE, file + ": defines the hook " + name + ", which would run while loading");
    }
    methods.insert(name);
  }
  if (tree->isAtom()) return;
  for (const auto& child : tree->trees()) collect_methods(child, file, methods);
}

void check_files(const std::vector<File>& files) {
  Names methods;
  for (const auto& file : files) {
    for (const auto& tree : file.trees) collect_methods(tree, file.name, methods);
  }
  for (const auto& file : files) {
    Checker checker(file.name, methods);
    for (const auto& tree : file.trees) checker.walk(tree);
  }
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

}  // namespace

void check_source(const std::string& name, const std::string& source) { check_files({parse(name, source)}); }

void check_artifact(const std::string& path) {
  std::vector<File> files;
  try {
    caffe2::serialize::PyTorchStreamReader reader(path);
    for (const auto& name : reader.getAllRecords()) {
      const bool code = ends_with(name, ".py");
      if (!code && !ends_with(name, ".pkl")) continue;
      auto [data, size] = reader.getRecord(name);
      const std::string_view text(static_cast<const char*>(data.get()), size);
      if (code) {
        files.push_back(parse(name, std::string(text)));
      } else if (text.find("__torch__.torch.classes") != std::string_view::npos) {
        throw Error(TORCHCLIP_E_MODEL_UNSAFE, name + ": holds an object of a custom C++ class");
      }
    }
  } catch (const Error& e) {
    throw Error(e.status(), path + ": " + e.what());
  } catch (const std::exception& e) {
    const std::string text = e.what();
    throw Error(TORCHCLIP_E_MODEL_CORRUPT,
                path + " is not a whole TorchScript archive: " + text.substr(0, text.find('\n')));
  }
  if (files.empty()) throw Error(TORCHCLIP_E_MODEL_CORRUPT, path + " is not a TorchScript archive: it holds no code");
  try {
    check_files(files);
  } catch (const Error& e) {
    throw Error(e.status(), path + ": " + e.what());
  }
}

}  // namespace torchclip::core
