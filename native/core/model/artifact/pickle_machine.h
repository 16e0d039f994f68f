// Executes a pickle as data: a stack machine that knows the opcodes of libtorch's pickler alone
// (torch/csrc/jit/serialization/pickler.cpp). It builds a tree of values; nothing is imported or called.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace torchclip::core {

// Throws Error(E_MODEL_CORRUPT).
[[noreturn]] void corrupt_pickle(const std::string& what);

// An object of the pickle; containers hold indices of others.
struct PickleValue {
  enum class Kind { none, boolean, whole, real, text, name, tuple, list, dict, object, storage, tensor, doubles };
  Kind kind = Kind::none;
  std::int64_t whole = 0;
  double real = 0;
  std::string_view text;             // of text and name ("module class"), or an object's class
  std::vector<std::uint32_t> items;  // of tuple, list; of dict: key, value, key, value; of object: its state
};

// A stack, marks and a memo of indices into `values_`. Each opcode adds one value at most.
class PickleMachine {
 public:
  // `pickle` must live as long as the machine: texts are views into it.
  explicit PickleMachine(std::string_view pickle) : text_(pickle) {}

  // Executes all opcodes and returns the index of the object that remains. Throws Error(E_MODEL_CORRUPT).
  std::uint32_t run();
  const PickleValue& at(std::uint32_t index) const { return values_[index]; }

 private:
  using Kind = PickleValue::Kind;

  // Reading the pickle.
  std::string_view take(std::size_t bytes);
  std::uint64_t number(std::size_t bytes);
  std::string_view line();

  // The stack.
  std::uint32_t add(PickleValue value);
  void push(PickleValue value) { stack_.push_back(add(std::move(value))); }
  void push(Kind kind);
  void push_boolean(bool value);
  void push_whole(std::int64_t number);
  void push_text(std::string_view text);
  void push_items(Kind kind, std::vector<std::uint32_t> items);
  void push_tuple(std::size_t count);
  std::uint32_t pop();
  std::vector<std::uint32_t> pop_mark();
  PickleValue& top(Kind kind, const char* what);
  const PickleValue& expect(std::uint32_t index, Kind kind, const char* what) const;

  // The opcodes.
  void step(unsigned char opcode);
  void push_long();
  void push_real();
  void push_name();
  void put(std::uint64_t index);
  void get(std::uint64_t index);
  void append(const std::vector<std::uint32_t>& items);
  void set_items(const std::vector<std::uint32_t>& items);
  void make_object();
  void build();
  void persistent();
  void reduce();
  void reduce_doubles(const PickleValue& arguments);
  void reduce_tensor(std::uint32_t arguments);

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<PickleValue> values_;
  std::vector<std::uint32_t> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, std::uint32_t> memo_;
};

}  // namespace torchclip::core
