#include "model/artifact/module_pickle.h"

#include "model/artifact/pickle_writer.h"

namespace torchclip::core {
namespace {

const char* storage_class(StoredType type) {
  switch (type) {
    case StoredType::f16:
      return "HalfStorage";
    case StoredType::bf16:
      return "BFloat16Storage";
    default:
      return "FloatStorage";
  }
}

// From the last axis to the first: each stride is the number of elements of the axes after it.
std::vector<std::int64_t> strides_of(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size());
  std::int64_t elements = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = elements;
    elements *= shape[axis];
  }
  return strides;
}

class ModulePickle {
 public:
  explicit ModulePickle(const std::map<std::string, RecordedTensor>& tensors) : tensors_(tensors) {}

  std::string write(const ModuleNode& root, const std::map<std::string, Attribute>& attributes) {
    add_module(root, attributes);
    return pickle_.finish();
  }

 private:
  void add_module(const ModuleNode& module, const std::map<std::string, Attribute>& attributes) {
    pickle_.global(kClassNamespace, module.class_name);
    pickle_.empty_tuple();
    pickle_.new_object();
    pickle_.empty_dict();
    pickle_.mark();
    for (const auto& name : module.parameters) add_named_tensor(module, name);
    for (const auto& name : module.buffers) add_named_tensor(module, name);
    for (const auto& [name, value] : attributes) {
      pickle_.text(name);
      add_attribute(value);
    }
    for (const auto& [name, child] : module.children) {
      pickle_.text(name);
      add_module(child, {});
    }
    pickle_.set_items();
    pickle_.build();
  }

  void add_named_tensor(const ModuleNode& module, const std::string& name) {
    pickle_.text(name);
    add_tensor(tensors_.at(path_below(module, name)));
  }

  // torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, backward_hooks)
  void add_tensor(const RecordedTensor& tensor) {
    pickle_.global("torch._utils", "_rebuild_tensor_v2");
    pickle_.mark();
    add_storage(tensor);
    pickle_.whole(0);
    add_wholes(tensor.shape);
    add_wholes(strides_of(tensor.shape));
    pickle_.no();
    pickle_.global("collections", "OrderedDict");
    pickle_.empty_tuple();
    pickle_.reduce();
    pickle_.tuple();
    pickle_.reduce();
  }

  void add_storage(const RecordedTensor& tensor) {
    std::int64_t elements = 1;
    for (const auto axis : tensor.shape) elements *= axis;
    pickle_.mark();
    pickle_.text("storage");
    pickle_.global("torch", storage_class(tensor.type));
    pickle_.text(std::to_string(tensor.record));
    pickle_.text("cpu");
    pickle_.whole(elements);
    pickle_.tuple();
    pickle_.persistent_load();
  }

  void add_wholes(const std::vector<std::int64_t>& values) {
    pickle_.mark();
    for (const auto value : values) pickle_.whole(value);
    pickle_.tuple();
  }

  void add_attribute(const Attribute& value) {
    if (const auto* whole = std::get_if<std::int64_t>(&value)) return pickle_.whole(*whole);
    pickle_.global("torch.jit._pickle", "build_doublelist");
    pickle_.mark();
    pickle_.empty_list();
    pickle_.mark();
    for (const double number : std::get<std::vector<double>>(value)) pickle_.real(number);
    pickle_.append_all();
    pickle_.tuple();
    pickle_.reduce();
  }

  const std::map<std::string, RecordedTensor>& tensors_;
  PickleWriter pickle_;
};

}  // namespace

std::string module_pickle(const ModuleNode& root, const std::map<std::string, Attribute>& attributes,
                          const std::map<std::string, RecordedTensor>& tensors) {
  return ModulePickle(tensors).write(root, attributes);
}

}  // namespace torchclip::core
