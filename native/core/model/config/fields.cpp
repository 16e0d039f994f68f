#include "model/config/fields.h"

#include <cmath>

#include "base/error.h"

namespace torchclip::core {

Fields::Fields(const Json& json, std::string name) : json_(json), name_(std::move(name)) {
  if (json.kind() != Json::Kind::object) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, "torchclip.json: " + name_ + " is no object");
  }
}

void Fields::fail(const std::string& field, const std::string& what) const {
  throw Error(TORCHCLIP_E_MODEL_CORRUPT, "torchclip.json: " + name_ + "." + field + " " + what);
}

const Json& Fields::member(const std::string& field) {
  known_.insert(field);
  return json_[field];
}

std::int64_t Fields::whole(const std::string& field, std::int64_t least, std::int64_t most) {
  const auto& value = member(field);
  const double number = value.number(std::nan(""));
  if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most)) || std::floor(number) != number) {
    fail(field, "is no whole number in " + std::to_string(least) + " to " + std::to_string(most));
  }
  return static_cast<std::int64_t>(number);
}

std::int64_t Fields::whole_or(const std::string& field, std::int64_t least, std::int64_t most, std::int64_t otherwise) {
  return member(field).kind() == Json::Kind::null ? otherwise : whole(field, least, most);
}

std::vector<std::int64_t> Fields::wholes(const std::string& field, std::size_t most_items, std::int64_t least,
                                         std::int64_t most) {
  const auto& value = member(field);
  if (value.kind() != Json::Kind::array || value.items().empty() || value.items().size() > most_items) {
    fail(field, "is no list of 1 to " + std::to_string(most_items) + " numbers");
  }
  std::vector<std::int64_t> found;
  for (const auto& item : value.items()) {
    const double number = item.number(std::nan(""));
    const bool in_range = number >= static_cast<double>(least) && number <= static_cast<double>(most);
    if (!in_range || std::floor(number) != number) fail(field, "holds something outside its range");
    found.push_back(static_cast<std::int64_t>(number));
  }
  return found;
}

std::vector<bool> Fields::booleans(const std::string& field, std::size_t items) {
  const auto& value = member(field);
  if (value.kind() != Json::Kind::array || value.items().size() != items) {
    fail(field, "is no list of " + std::to_string(items) + " booleans");
  }
  std::vector<bool> found;
  for (const auto& item : value.items()) {
    if (item.kind() != Json::Kind::boolean) fail(field, "holds something that is no boolean");
    found.push_back(item.boolean());
  }
  return found;
}

std::vector<double> Fields::numbers(const std::string& field, std::size_t items, double least, double most) {
  const auto& value = member(field);
  if (value.kind() != Json::Kind::array || value.items().size() != items) {
    fail(field, "is no list of " + std::to_string(items) + " numbers");
  }
  std::vector<double> found;
  for (const auto& item : value.items()) {
    const double number = item.number(std::nan(""));
    if (!(number >= least && number <= most)) fail(field, "holds something outside its range");
    found.push_back(number);
  }
  return found;
}

double Fields::number(const std::string& field, double least, double most) {
  const double number = member(field).number(std::nan(""));
  if (!(number >= least && number <= most)) fail(field, "is no number in its range");
  return number;
}

bool Fields::boolean(const std::string& field) {
  const auto& value = member(field);
  if (value.kind() != Json::Kind::boolean) fail(field, "is no boolean");
  return value.boolean();
}

bool Fields::boolean_or(const std::string& field, bool otherwise) {
  return member(field).kind() == Json::Kind::null ? otherwise : boolean(field);
}

std::string Fields::text(const std::string& field) {
  const auto& value = member(field);
  if (value.kind() != Json::Kind::string) fail(field, "is no text");
  return value.text();
}

std::string Fields::choice(const std::string& field, std::initializer_list<const char*> choices) {
  auto found = member(field).text();
  std::string all;
  for (const char* choice : choices) {
    if (found == choice) return found;
    all += (all.empty() ? "" : ", ") + std::string(choice);
  }
  fail(field, "is none of " + all);
}

std::string Fields::choice_or(const std::string& field, std::initializer_list<const char*> choices,
                              const char* otherwise) {
  return member(field).kind() == Json::Kind::null ? otherwise : choice(field, choices);
}

const Json& Fields::object(const std::string& field) { return member(field); }

const std::vector<Json>& Fields::objects_or_none(const std::string& field, std::size_t most_items) {
  const auto& value = member(field);
  const bool missing = value.kind() == Json::Kind::null;
  if (!missing && (value.kind() != Json::Kind::array || value.items().size() > most_items)) {
    fail(field, "is no list of at most " + std::to_string(most_items) + " objects");
  }
  return value.items();
}

void Fields::finish() const {
  for (const auto& [name, value] : json_.members()) {
    if (known_.count(name) == 0) fail(name.substr(0, 100), "is unknown to this version of torchclip");
  }
}

}  // namespace torchclip::core
