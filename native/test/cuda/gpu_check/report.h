// The JSON file of the results, and the form of a result.
#pragma once

#include <sstream>
#include <string>

namespace torchclip::gpu_check {

class Row {
 public:
  Row& text(const char* name, const std::string& value) {
    std::ostringstream out;
    out << '"' << value << '"';
    return put(name, out.str());
  }
  template <typename Number>
  Row& number(const char* name, Number value) {
    std::ostringstream out;
    out << value;
    return put(name, out.str());
  }
  std::string json() const { return "{" + fields_ + "}"; }

 private:
  Row& put(const char* name, const std::string& json) {
    std::ostringstream out;
    out << (fields_.empty() ? "" : ",") << '"' << name << "\":" << json;
    fields_ += out.str();
    return *this;
  }
  std::string fields_;
};

// One object, its fields written in order.
class Report {
 public:
  void field(const char* name, const std::string& json) {
    std::ostringstream out;
    out << (json_.empty() ? "{" : ",\n") << '"' << name << "\":" << json;
    json_ += out.str();
  }
  void begin_rows(const char* name) {
    field(name, "[");
    is_first_row_ = true;
  }
  void add(const Row& row) {
    json_ += (is_first_row_ ? "\n" : ",\n") + row.json();
    is_first_row_ = false;
  }
  void end_rows() { json_ += "]"; }
  std::string json() const { return json_ + "}\n"; }

 private:
  std::string json_;
  bool is_first_row_ = true;
};

}  // namespace torchclip::gpu_check
