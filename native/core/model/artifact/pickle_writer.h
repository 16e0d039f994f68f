// Writes values in Python's pickle protocol 2, with the opcodes that libtorch's unpickler knows
// (torch/csrc/jit/serialization/unpickler.cpp; CPython, Lib/pickletools.py describes each of them).
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace torchclip::core {

// Each function appends the opcode of its name, which pushes a value onto the reader's stack or changes the one on top.
class PickleWriter {
 public:
  PickleWriter();

  void text(const std::string& value);
  // The class or function `name` of the Python module `module`.
  void global(const std::string& module, const std::string& name);
  void whole(std::int64_t value);
  void real(double value);
  void no();  // False
  void empty_tuple() { opcode(')'); }
  void empty_list() { opcode(']'); }
  void empty_dict() { opcode('}'); }

  // mark() ... tuple() makes a tuple of the values between them; after an empty list or dict, mark() ... append_all()
  // or set_items() puts them into it.
  void mark() { opcode('('); }
  void tuple() { opcode('t'); }
  void append_all() { opcode('e'); }
  void set_items() { opcode('u'); }

  void reduce() { opcode('R'); }           // Calls a function with a tuple.
  void new_object() { opcode('\x81'); }    // Makes an object of a class with a tuple.
  void build() { opcode('b'); }            // Gives an object its state.
  void persistent_load() { opcode('Q'); }  // Takes what a tuple describes from elsewhere in the file.

  // Ends the pickle and returns it.
  std::string finish();

 private:
  void opcode(char code) { pickle_ += code; }
  void number(std::uint64_t value, int bytes);
  // Pushes a value again that the reader has met before; false: it has not, and `key` is its name from now on.
  bool recall(const std::string& key);
  void remember(const std::string& key);

  std::string pickle_;
  std::map<std::string, std::uint64_t> memo_;  // The reader's memo: places of texts and globals.
};

}  // namespace torchclip::core
