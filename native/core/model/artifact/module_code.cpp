#include "model/artifact/module_code.h"

#include <algorithm>
#include <vector>

namespace torchclip::core {
namespace {

bool is_identifier(const std::string& name) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto is_part = [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); };
  return !name.empty() && is_letter(name[0]) && std::all_of(name.begin(), name.end(), is_part);
}

std::string list_of(const std::vector<std::string>& names) {
  std::string text = "[";
  for (const auto& name : names) text += "\"" + name + "\", ";
  return text + "]";
}

// The declarations of a class. Names as "0", of modules in a list, are no identifiers and stand in __annotations__.
class Declarations {
 public:
  void add(const std::string& name, const std::string& type) {
    if (is_identifier(name)) {
      named_ += "  " + name + " : " + type + "\n";
    } else {
      quoted_ += "  __annotations__[\"" + name + "\"] = " + type + "\n";
    }
  }
  std::string text() const { return named_ + (quoted_.empty() ? "" : "  __annotations__ = []\n" + quoted_); }

 private:
  std::string named_, quoted_;
};

std::string indented(const std::string& source) {
  std::string text;
  for (std::size_t start = 0; start < source.size();) {
    const auto end = std::min(source.find('\n', start), source.size());
    const auto line = source.substr(start, end - start);
    if (line.find_first_not_of(' ') != std::string::npos) text += "  " + line + "\n";
    start = end + 1;
  }
  return text;
}

void add_class(std::string& code, const ModuleNode& module, const std::map<std::string, Attribute>& attributes) {
  Declarations declarations;
  for (const auto& name : module.parameters) declarations.add(name, "Tensor");
  for (const auto& name : module.buffers) declarations.add(name, "Tensor");
  for (const auto& [name, value] : attributes) {
    declarations.add(name, std::holds_alternative<std::int64_t>(value) ? "int" : "List[float]");
  }
  for (const auto& [name, child] : module.children) {
    declarations.add(name, std::string(kClassNamespace) + "." + child.class_name);
  }
  code += "class " + module.class_name + "(Module):\n";
  code += "  __parameters__ = " + list_of(module.parameters) + "\n";
  code += "  __buffers__ = " + list_of(module.buffers) + "\n";
  code += declarations.text() + indented(module.source);
  for (const auto& [name, child] : module.children) add_class(code, child, {});
}

}  // namespace

std::string module_code(const ModuleNode& root, const std::map<std::string, Attribute>& attributes) {
  std::string code;
  add_class(code, root, attributes);
  return code;
}

}  // namespace torchclip::core
