// Reads the members of a JSON object of torchclip.json, each with its type and range, and refuses unknown members.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"

namespace torchclip::core {

// The limits of the sizes in the settings. The sizes are compared with the tensors of the file afterwards.
constexpr std::int64_t kMostWidth = 1 << 16, kMostLayers = 1 << 10, kMostPixels = 1 << 14, kMostTokens = 1 << 16,
                       kMostVocabulary = 1 << 24;

class Fields {
 public:
  // `name` is the prefix of each member in messages, e.g. "image". The constructor and every method throw
  // Error(E_MODEL_CORRUPT); the constructor does so if `json` is not an object.
  Fields(const Json& json, std::string name);

  // Reads an integer in [least, most].
  std::int64_t whole(const std::string& field, std::int64_t least, std::int64_t most);
  // Returns `otherwise` if the field is missing or null.
  std::int64_t whole_or(const std::string& field, std::int64_t least, std::int64_t most, std::int64_t otherwise);
  std::vector<std::int64_t> wholes(const std::string& field, std::size_t most_items, std::int64_t least,
                                   std::int64_t most);
  std::vector<bool> booleans(const std::string& field, std::size_t items);
  std::vector<double> numbers(const std::string& field, std::size_t items, double least, double most);
  double number(const std::string& field, double least, double most);
  bool boolean(const std::string& field);
  bool boolean_or(const std::string& field, bool otherwise);
  std::string text(const std::string& field);
  // Reads a text that must be one of `choices`.
  std::string choice(const std::string& field, std::initializer_list<const char*> choices);
  std::string choice_or(const std::string& field, std::initializer_list<const char*> choices, const char* otherwise);
  // Returns an object, or an array of objects, to be read by further Fields.
  const Json& object(const std::string& field);
  const std::vector<Json>& objects_or_none(const std::string& field, std::size_t most_items);

  // Throws if the object has a member that was not read above, because this version would ignore a setting.
  void finish() const;

  [[noreturn]] void fail(const std::string& field, const std::string& what) const;

 private:
  const Json& member(const std::string& field);

  const Json& json_;
  std::string name_;
  std::set<std::string> known_;
};

}  // namespace torchclip::core
