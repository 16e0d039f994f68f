#include "model/artifact/pickle.h"

#include <unordered_map>
#include <utility>

#include "model/artifact/pickle_machine.h"

namespace torchclip::core {
namespace {

constexpr std::size_t kDeepest = 32;  // modules below modules

// Collects the tensors below one module after the other; `pending` stands in for recursion.
class Collector {
 public:
  explicit Collector(const PickleMachine& machine) : machine_(machine) {}

  PickledModule collect(std::uint32_t root) {
    if (machine_.at(root).kind != PickleValue::Kind::object) corrupt_pickle("its root is no module");
    pending_.push_back({root, "", 0});
    while (!pending_.empty()) {
      const auto module = pending_.back();
      pending_.pop_back();
      visit(module);
    }
    return std::move(found_);
  }

 private:
  using Kind = PickleValue::Kind;
  struct Pending {
    std::uint32_t index;
    std::string path;
    std::size_t depth;
  };

  void visit(const Pending& module) {
    if (module.depth > kDeepest) corrupt_pickle("modules are nested deeper than 32");
    visit_once(module.index);
    const auto& object = machine_.at(module.index);
    if (object.items.empty()) return;
    const auto& state = machine_.at(object.items[0]).items;
    for (std::size_t i = 0; i < state.size(); i += 2) {
      const auto& key = machine_.at(state[i]);
      if (key.kind != Kind::text) corrupt_pickle("an attribute without a name");
      const auto name = std::string(key.text);
      const auto path = module.path.empty() ? name : module.path + "." + name;
      visit_attribute(state[i + 1], name, path, module.depth);
    }
  }

  void visit_attribute(std::uint32_t index, const std::string& name, const std::string& path, std::size_t depth) {
    const auto& value = machine_.at(index);
    if (value.kind == Kind::object) return pending_.push_back({index, path, depth + 1});
    if (value.kind == Kind::tensor) {
      visit_once(index);
      if (!found_.tensors.emplace(path, tensor_of(value)).second) corrupt_pickle("two tensors have the name " + path);
      return;
    }
    // Flags of libtorch's modules such as "training" stand below the root as well; they are of no use here.
    if (depth > 0) return;
    found_.attributes[name] = attribute_of(value);
  }

  void visit_once(std::uint32_t index) {
    if (!seen_.emplace(index, true).second) corrupt_pickle("an object is reached twice");
  }

  PickledAttribute attribute_of(const PickleValue& value) const {
    switch (value.kind) {
      case Kind::whole:
        return value.whole;
      case Kind::real:
        return value.real;
      case Kind::boolean:
        return value.whole != 0;
      case Kind::text:
        return std::string(value.text);
      case Kind::doubles: {
        std::vector<double> numbers;
        for (const auto item : value.items) numbers.push_back(machine_.at(item).real);
        return numbers;
      }
      default:
        return std::int64_t{0};  // None, an empty list: nothing that is read
    }
  }

  PickledTensor tensor_of(const PickleValue& value) const {
    const auto& storage = machine_.at(value.items[0]).items;
    PickledTensor tensor;
    tensor.dtype = std::string(machine_.at(storage[1]).text);
    tensor.storage = std::string(machine_.at(storage[2]).text);
    tensor.storage_elements = machine_.at(storage[4]).whole;
    tensor.offset = machine_.at(value.items[1]).whole;
    for (const auto axis : machine_.at(value.items[2]).items) tensor.shape.push_back(machine_.at(axis).whole);
    for (const auto axis : machine_.at(value.items[3]).items) tensor.strides.push_back(machine_.at(axis).whole);
    return tensor;
  }

  const PickleMachine& machine_;
  std::vector<Pending> pending_;
  std::unordered_map<std::uint32_t, bool> seen_;
  PickledModule found_;
};

}  // namespace

PickledModule read_module_pickle(std::string_view pickle) {
  PickleMachine machine(pickle);
  const auto root = machine.run();
  return Collector(machine).collect(root);
}

}  // namespace torchclip::core
