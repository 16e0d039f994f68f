#include "model/artifact/pickle.h"

#include <cstring>
#include <unordered_map>

#include "base/error.h"

namespace torchclip::core {
namespace {

constexpr std::size_t kDeepest = 32;  // modules below modules
constexpr std::size_t kMostAxes = 8;
constexpr std::size_t kMostValues = 1 << 20;  // about 100 MB; a tensor and its names take some 15

[[noreturn]] void corrupt(const std::string& what) { throw Error(TORCHCLIP_E_MODEL_CORRUPT, "data.pkl: " + what); }

// An object of the pickle; containers hold indices of others.
struct Value {
  enum class Kind { none, boolean, whole, real, text, name, tuple, list, dict, object, storage, tensor, doubles };
  Kind kind = Kind::none;
  std::int64_t whole = 0;
  double real = 0;
  std::string_view text;             // of text and name ("module class"), or an object's class
  std::vector<std::uint32_t> items;  // of tuple, list; of dict: key, value, key, value; of object: its state
};

// The pickle machine: a stack, marks and a memo of indices into `values`. Each opcode adds one value at most.
class Machine {
 public:
  explicit Machine(std::string_view pickle) : text_(pickle) {}

  std::uint32_t run() {
    for (;;) {
      const auto opcode = static_cast<unsigned char>(take(1)[0]);
      if (opcode == '.') break;
      step(opcode);
    }
    if (stack_.size() != 1 || !marks_.empty()) corrupt("it does not end with one object");
    return stack_.back();
  }

  const Value& at(std::uint32_t index) const { return values_[index]; }

 private:
  using Kind = Value::Kind;

  std::string_view take(std::size_t bytes) {
    if (bytes > text_.size() - at_) corrupt("it is cut");
    const auto part = text_.substr(at_, bytes);
    at_ += bytes;
    return part;
  }
  std::uint64_t number(std::size_t bytes) {
    const auto part = take(bytes);
    std::uint64_t value = 0;
    for (std::size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(part[i]);
    return value;
  }
  std::string_view line() {
    const auto end = text_.find('\n', at_);
    if (end == std::string_view::npos) corrupt("it is cut");
    const auto part = text_.substr(at_, end - at_);
    at_ = end + 1;
    return part;
  }

  std::uint32_t add(Value value) {
    if (values_.size() == kMostValues) corrupt("it holds more than a million objects");
    values_.push_back(std::move(value));
    return static_cast<std::uint32_t>(values_.size() - 1);
  }
  void push(Value value) { stack_.push_back(add(std::move(value))); }
  void push(Kind kind) {
    Value value;
    value.kind = kind;
    push(std::move(value));
  }
  std::uint32_t pop() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) corrupt("its stack is empty");
    const auto index = stack_.back();
    stack_.pop_back();
    return index;
  }
  // What lies above the last mark, and the mark is gone.
  std::vector<std::uint32_t> pop_mark() {
    if (marks_.empty()) corrupt("a mark is missing");
    const auto from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<std::uint32_t> items(from, stack_.end());
    stack_.erase(from, stack_.end());
    marks_.pop_back();
    return items;
  }
  Value& top(Kind kind, const char* what) {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) corrupt("its stack is empty");
    auto& value = values_[stack_.back()];
    if (value.kind != kind) corrupt(what);
    return value;
  }
  const Value& expect(std::uint32_t index, Kind kind, const char* what) const {
    if (values_[index].kind != kind) corrupt(what);
    return values_[index];
  }

  void push_whole(std::int64_t number) {
    Value value;
    value.kind = Kind::whole;
    value.whole = number;
    push(std::move(value));
  }
  void push_text(std::string_view text) {
    Value value;
    value.kind = Kind::text;
    value.text = text;
    push(std::move(value));
  }
  void push_items(Kind kind, std::vector<std::uint32_t> items) {
    Value value;
    value.kind = kind;
    value.items = std::move(items);
    push(std::move(value));
  }
  void push_tuple(std::size_t count) {
    std::vector<std::uint32_t> items(count);
    for (std::size_t i = count; i-- > 0;) items[i] = pop();
    push_items(Kind::tuple, std::move(items));
  }

  void step(unsigned char opcode);
  void push_long();
  void push_real();
  void push_name();
  void get(std::uint64_t index);
  void append(std::vector<std::uint32_t> items);
  void set_items(std::vector<std::uint32_t> items);
  void make_object();
  void build();
  void persistent();
  void reduce();
  void reduce_doubles(const Value& arguments);
  void reduce_tensor(std::uint32_t arguments);

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<Value> values_;
  std::vector<std::uint32_t> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, std::uint32_t> memo_;
};

void Machine::step(unsigned char opcode) {
  switch (opcode) {
    case 0x80:  // PROTO
      if (number(1) != 2) corrupt("it has another protocol than 2");
      return;
    case '(':
      return marks_.push_back(stack_.size());
    case 'N':
      return push(Kind::none);
    case 0x88:
    case 0x89: {
      Value value;
      value.kind = Kind::boolean;
      value.whole = opcode == 0x88;
      return push(std::move(value));
    }
    case 'K':
      return push_whole(static_cast<std::int64_t>(number(1)));
    case 'M':
      return push_whole(static_cast<std::int64_t>(number(2)));
    case 'J':
      return push_whole(static_cast<std::int32_t>(number(4)));
    case 0x8a:
      return push_long();
    case 'G':
      return push_real();
    case 'X':
      return push_text(take(number(4)));
    case 'c':
      return push_name();
    case ')':
      return push_items(Kind::tuple, {});
    case 0x85:
    case 0x86:
    case 0x87:
      return push_tuple(opcode - 0x84u);
    case 't':
      return push_items(Kind::tuple, pop_mark());
    case ']':
      return push(Kind::list);
    case '}':
      return push(Kind::dict);
    case 'a':
      return append({pop()});
    case 'e':
      return append(pop_mark());
    case 's': {
      const auto value = pop(), key = pop();
      return set_items({key, value});
    }
    case 'u':
      return set_items(pop_mark());
    case 'q':
    case 'r': {
      const auto index = number(opcode == 'q' ? 1 : 4);
      if (stack_.empty()) corrupt("its stack is empty");
      memo_[index] = stack_.back();
      return;
    }
    case 'h':
      return get(number(1));
    case 'j':
      return get(number(4));
    case 0x81:
      return make_object();
    case 'b':
      return build();
    case 'Q':
      return persistent();
    case 'R':
      return reduce();
    default:
      corrupt("an opcode " + std::to_string(opcode) + " that libtorch does not write");
  }
}

void Machine::push_long() {
  const auto bytes = number(1);
  if (bytes > 8) corrupt("a number beyond 64 bits");
  const auto raw = number(bytes);
  const auto unused = static_cast<unsigned>(64 - 8 * bytes);
  push_whole(bytes == 0 ? 0 : static_cast<std::int64_t>(raw << unused) >> unused);
}

void Machine::push_real() {
  const auto part = take(8);
  std::uint64_t raw = 0;
  for (const char c : part) raw = raw << 8 | static_cast<unsigned char>(c);
  Value value;
  value.kind = Kind::real;
  std::memcpy(&value.real, &raw, sizeof raw);
  push(std::move(value));
}

// GLOBAL: two lines; they follow each other in the pickle, so one view holds both.
void Machine::push_name() {
  const auto module = line(), name = line();
  Value value;
  value.kind = Kind::name;
  value.text = std::string_view(module.data(), module.size() + 1 + name.size());
  push(std::move(value));
}

void Machine::get(std::uint64_t index) {
  const auto found = memo_.find(index);
  if (found == memo_.end()) corrupt("a memo that was never put");
  stack_.push_back(found->second);
}

void Machine::append(std::vector<std::uint32_t> items) {
  auto& list = top(Kind::list, "something is appended to no list").items;
  list.insert(list.end(), items.begin(), items.end());
}

void Machine::set_items(std::vector<std::uint32_t> items) {
  if (items.size() % 2 != 0) corrupt("a key without a value");
  auto& dict = top(Kind::dict, "items are set in no dict").items;
  dict.insert(dict.end(), items.begin(), items.end());
}

// NEWOBJ of a class that the archive's code defines. Custom C++ classes ("__torch__.torch.classes") have code that
// runs when their state is set; no artifact holds one.
void Machine::make_object() {
  const auto arguments = pop();
  if (!expect(arguments, Value::Kind::tuple, "an object's arguments are no tuple").items.empty()) {
    corrupt("an object has arguments");
  }
  Value value;
  value.kind = Kind::object;
  value.text = expect(pop(), Kind::name, "an object of no class").text;
  const bool own = value.text.rfind("__torch__", 0) == 0;
  if (!own || value.text.find("torch.classes") != std::string_view::npos) {
    corrupt("an object of the class " + std::string(value.text.substr(0, 100)));
  }
  push(std::move(value));
}

void Machine::build() {
  const auto state = pop();
  expect(state, Kind::dict, "an object's state is no dict");
  auto& object = top(Kind::object, "a state for no object");
  if (!object.items.empty()) corrupt("an object has two states");
  object.items = {state};
}

// BINPERSID of ("storage", class, key, device, elements).
void Machine::persistent() {
  const auto index = pop();
  const auto items = expect(index, Kind::tuple, "a persistent id is no tuple").items;
  if (items.size() != 5) corrupt("a persistent id has another form");
  if (expect(items[0], Kind::text, "a persistent id has another form").text != "storage") {
    corrupt("a persistent id of no storage");
  }
  expect(items[1], Kind::name, "a storage of no class");
  expect(items[2], Kind::text, "a storage without a key");
  expect(items[3], Kind::text, "a storage without a device");
  expect(items[4], Kind::whole, "a storage without a size");
  push_items(Kind::storage, items);
}

void Machine::reduce() {
  const auto arguments = pop();
  expect(arguments, Kind::tuple, "arguments are no tuple");
  const auto function = expect(pop(), Kind::name, "a call of no function").text;
  if (function == "torch._utils\n_rebuild_tensor_v2") return reduce_tensor(arguments);
  if (function == "torch.jit._pickle\nbuild_doublelist") return reduce_doubles(values_[arguments]);
  if (function == "collections\nOrderedDict" && values_[arguments].items.empty()) return push(Kind::dict);
  corrupt("a call of " + std::string(function.substr(0, 100)));
}

void Machine::reduce_doubles(const Value& arguments) {
  if (arguments.items.size() != 1) corrupt("a list of numbers has another form");
  const auto list = expect(arguments.items[0], Kind::list, "a list of numbers has another form").items;
  for (const auto item : list) expect(item, Kind::real, "a list of numbers holds something else");
  push_items(Kind::doubles, list);
}

void Machine::reduce_tensor(std::uint32_t arguments) {
  const auto items = values_[arguments].items;
  if (items.size() < 5 || items.size() > 7) corrupt("a tensor has another form");
  expect(items[0], Kind::storage, "a tensor without a storage");
  expect(items[1], Kind::whole, "a tensor without an offset");
  for (const int axis_list : {2, 3}) {
    const auto& axes = expect(items[axis_list], Kind::tuple, "a tensor without a shape").items;
    if (axes.size() > kMostAxes) corrupt("a tensor of more than 8 axes");
    for (const auto axis : axes) expect(axis, Kind::whole, "a tensor without a shape");
  }
  push_items(Kind::tensor, items);
}

// Collects the tensors below one module after the other; `pending` stands in for recursion.
class Collector {
 public:
  explicit Collector(const Machine& machine) : machine_(machine) {}

  PickledModule collect(std::uint32_t root) {
    if (machine_.at(root).kind != Value::Kind::object) corrupt("its root is no module");
    pending_.push_back({root, "", 0});
    while (!pending_.empty()) {
      const auto module = pending_.back();
      pending_.pop_back();
      visit(module);
    }
    return std::move(found_);
  }

 private:
  using Kind = Value::Kind;
  struct Pending {
    std::uint32_t index;
    std::string path;
    std::size_t depth;
  };

  void visit(const Pending& module) {
    if (module.depth > kDeepest) corrupt("modules are nested deeper than 32");
    visit_once(module.index);
    const auto& object = machine_.at(module.index);
    if (object.items.empty()) return;
    const auto& state = machine_.at(object.items[0]).items;
    for (std::size_t i = 0; i < state.size(); i += 2) {
      const auto& key = machine_.at(state[i]);
      if (key.kind != Kind::text) corrupt("an attribute without a name");
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
      if (!found_.tensors.emplace(path, tensor_of(value)).second) corrupt("two tensors have the name " + path);
      return;
    }
    // Flags of libtorch's modules such as "training" stand below the root as well; they are of no use here.
    if (depth > 0) return;
    found_.attributes[name] = attribute_of(value);
  }

  void visit_once(std::uint32_t index) {
    if (!seen_.emplace(index, true).second) corrupt("an object is reached twice");
  }

  PickledAttribute attribute_of(const Value& value) const {
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

  PickledTensor tensor_of(const Value& value) const {
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

  const Machine& machine_;
  std::vector<Pending> pending_;
  std::unordered_map<std::uint32_t, bool> seen_;
  PickledModule found_;
};

}  // namespace

PickledModule read_module_pickle(std::string_view pickle) {
  Machine machine(pickle);
  const auto root = machine.run();
  return Collector(machine).collect(root);
}

}  // namespace torchclip::core
