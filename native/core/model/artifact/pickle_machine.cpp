#include "model/artifact/pickle_machine.h"

#include <cstring>
#include <utility>

#include "base/error.h"

namespace torchclip::core {
namespace {

constexpr std::size_t kMostAxes = 8;
constexpr std::size_t kMostValues = 1 << 20;  // about 100 MB; a tensor and its names take some 15

}  // namespace

void corrupt_pickle(const std::string& what) { throw Error(TORCHCLIP_E_MODEL_CORRUPT, "data.pkl: " + what); }

std::uint32_t PickleMachine::run() {
  for (;;) {
    const auto opcode = static_cast<unsigned char>(take(1)[0]);
    if (opcode == '.') break;
    step(opcode);
  }
  if (stack_.size() != 1 || !marks_.empty()) corrupt_pickle("it does not end with one object");
  return stack_.back();
}

std::string_view PickleMachine::take(std::size_t bytes) {
  if (bytes > text_.size() - at_) corrupt_pickle("it is cut");
  const auto part = text_.substr(at_, bytes);
  at_ += bytes;
  return part;
}

std::uint64_t PickleMachine::number(std::size_t bytes) {
  const auto part = take(bytes);
  std::uint64_t value = 0;
  for (std::size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(part[i]);
  return value;
}

std::string_view PickleMachine::line() {
  const auto end = text_.find('\n', at_);
  if (end == std::string_view::npos) corrupt_pickle("it is cut");
  const auto part = text_.substr(at_, end - at_);
  at_ = end + 1;
  return part;
}

std::uint32_t PickleMachine::add(PickleValue value) {
  if (values_.size() == kMostValues) corrupt_pickle("it holds more than a million objects");
  values_.push_back(std::move(value));
  return static_cast<std::uint32_t>(values_.size() - 1);
}

void PickleMachine::push(Kind kind) {
  PickleValue value;
  value.kind = kind;
  push(std::move(value));
}

void PickleMachine::push_boolean(bool value) {
  PickleValue boolean;
  boolean.kind = Kind::boolean;
  boolean.whole = value;
  push(std::move(boolean));
}

void PickleMachine::push_whole(std::int64_t number) {
  PickleValue value;
  value.kind = Kind::whole;
  value.whole = number;
  push(std::move(value));
}

void PickleMachine::push_text(std::string_view text) {
  PickleValue value;
  value.kind = Kind::text;
  value.text = text;
  push(std::move(value));
}

void PickleMachine::push_items(Kind kind, std::vector<std::uint32_t> items) {
  PickleValue value;
  value.kind = kind;
  value.items = std::move(items);
  push(std::move(value));
}

void PickleMachine::push_tuple(std::size_t count) {
  std::vector<std::uint32_t> items(count);
  for (std::size_t i = count; i-- > 0;) items[i] = pop();
  push_items(Kind::tuple, std::move(items));
}

std::uint32_t PickleMachine::pop() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) corrupt_pickle("its stack is empty");
  const auto index = stack_.back();
  stack_.pop_back();
  return index;
}

// Removes the last mark and what lies above it, which is returned.
std::vector<std::uint32_t> PickleMachine::pop_mark() {
  if (marks_.empty()) corrupt_pickle("a mark is missing");
  const auto from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<std::uint32_t> items(from, stack_.end());
  stack_.erase(from, stack_.end());
  marks_.pop_back();
  return items;
}

PickleValue& PickleMachine::top(Kind kind, const char* what) {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) corrupt_pickle("its stack is empty");
  auto& value = values_[stack_.back()];
  if (value.kind != kind) corrupt_pickle(what);
  return value;
}

const PickleValue& PickleMachine::expect(std::uint32_t index, Kind kind, const char* what) const {
  if (values_[index].kind != kind) corrupt_pickle(what);
  return values_[index];
}

// One case an opcode: the table of the machine, longer than a function should be.
// NOLINTNEXTLINE(readability-function-size)
void PickleMachine::step(unsigned char opcode) {
  switch (opcode) {
    case 0x80:  // PROTO
      if (number(1) != 2) corrupt_pickle("it has another protocol than 2");
      return;
    case '(':
      return marks_.push_back(stack_.size());
    case 'N':
      return push(Kind::none);
    case 0x88:
    case 0x89:
      return push_boolean(opcode == 0x88);
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
      return put(number(1));
    case 'r':
      return put(number(4));
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
      corrupt_pickle("an opcode " + std::to_string(opcode) + " that libtorch does not write");
  }
}

void PickleMachine::push_long() {
  const auto bytes = number(1);
  if (bytes > 8) corrupt_pickle("a number beyond 64 bits");
  const auto raw = number(bytes);
  const auto unused = static_cast<unsigned>(64 - 8 * bytes);
  push_whole(bytes == 0 ? 0 : static_cast<std::int64_t>(raw << unused) >> unused);
}

void PickleMachine::push_real() {
  const auto part = take(8);
  std::uint64_t raw = 0;
  for (const char c : part) raw = raw << 8 | static_cast<unsigned char>(c);
  PickleValue value;
  value.kind = Kind::real;
  std::memcpy(&value.real, &raw, sizeof raw);
  push(std::move(value));
}

// GLOBAL: two lines; they follow each other in the pickle, so one view holds both.
void PickleMachine::push_name() {
  const auto module = line(), name = line();
  PickleValue value;
  value.kind = Kind::name;
  value.text = std::string_view(module.data(), module.size() + 1 + name.size());
  push(std::move(value));
}

void PickleMachine::put(std::uint64_t index) {
  if (stack_.empty()) corrupt_pickle("its stack is empty");
  memo_[index] = stack_.back();
}

void PickleMachine::get(std::uint64_t index) {
  const auto found = memo_.find(index);
  if (found == memo_.end()) corrupt_pickle("a memo that was never put");
  stack_.push_back(found->second);
}

void PickleMachine::append(const std::vector<std::uint32_t>& items) {
  auto& list = top(Kind::list, "something is appended to no list").items;
  list.insert(list.end(), items.begin(), items.end());
}

void PickleMachine::set_items(const std::vector<std::uint32_t>& items) {
  if (items.size() % 2 != 0) corrupt_pickle("a key without a value");
  auto& dict = top(Kind::dict, "items are set in no dict").items;
  dict.insert(dict.end(), items.begin(), items.end());
}

// NEWOBJ of a class that the archive's code defines. Custom C++ classes ("__torch__.torch.classes") have code that
// runs when their state is set; no artifact holds one.
void PickleMachine::make_object() {
  const auto arguments = pop();
  if (!expect(arguments, Kind::tuple, "an object's arguments are no tuple").items.empty()) {
    corrupt_pickle("an object has arguments");
  }
  PickleValue value;
  value.kind = Kind::object;
  value.text = expect(pop(), Kind::name, "an object of no class").text;
  const bool is_torchscript = value.text.rfind("__torch__", 0) == 0;
  if (!is_torchscript || value.text.find("torch.classes") != std::string_view::npos) {
    corrupt_pickle("an object of the class " + std::string(value.text.substr(0, 100)));
  }
  push(std::move(value));
}

void PickleMachine::build() {
  const auto state = pop();
  expect(state, Kind::dict, "an object's state is no dict");
  auto& object = top(Kind::object, "a state for no object");
  if (!object.items.empty()) corrupt_pickle("an object has two states");
  object.items = {state};
}

// BINPERSID of ("storage", class, key, device, elements).
void PickleMachine::persistent() {
  const auto index = pop();
  const auto items = expect(index, Kind::tuple, "a persistent id is no tuple").items;
  if (items.size() != 5) corrupt_pickle("a persistent id has another form");
  if (expect(items[0], Kind::text, "a persistent id has another form").text != "storage") {
    corrupt_pickle("a persistent id of no storage");
  }
  expect(items[1], Kind::name, "a storage of no class");
  expect(items[2], Kind::text, "a storage without a key");
  expect(items[3], Kind::text, "a storage without a device");
  expect(items[4], Kind::whole, "a storage without a size");
  push_items(Kind::storage, items);
}

void PickleMachine::reduce() {
  const auto arguments = pop();
  expect(arguments, Kind::tuple, "arguments are no tuple");
  const auto function = expect(pop(), Kind::name, "a call of no function").text;
  if (function == "torch._utils\n_rebuild_tensor_v2") return reduce_tensor(arguments);
  if (function == "torch.jit._pickle\nbuild_doublelist") return reduce_doubles(values_[arguments]);
  if (function == "collections\nOrderedDict" && values_[arguments].items.empty()) return push(Kind::dict);
  corrupt_pickle("a call of " + std::string(function.substr(0, 100)));
}

void PickleMachine::reduce_doubles(const PickleValue& arguments) {
  if (arguments.items.size() != 1) corrupt_pickle("a list of numbers has another form");
  const auto list = expect(arguments.items[0], Kind::list, "a list of numbers has another form").items;
  for (const auto item : list) expect(item, Kind::real, "a list of numbers holds something else");
  push_items(Kind::doubles, list);
}

void PickleMachine::reduce_tensor(std::uint32_t arguments) {
  const auto items = values_[arguments].items;
  if (items.size() < 5 || items.size() > 7) corrupt_pickle("a tensor has another form");
  expect(items[0], Kind::storage, "a tensor without a storage");
  expect(items[1], Kind::whole, "a tensor without an offset");
  for (const std::size_t axis_list : {2u, 3u}) {
    const auto& axes = expect(items[axis_list], Kind::tuple, "a tensor without a shape").items;
    if (axes.size() > kMostAxes) corrupt_pickle("a tensor of more than 8 axes");
    for (const auto axis : axes) expect(axis, Kind::whole, "a tensor without a shape");
  }
  push_items(Kind::tensor, items);
}

}  // namespace torchclip::core
