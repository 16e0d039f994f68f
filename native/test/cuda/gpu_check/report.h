// The file of the results, one JSON object a line, written as soon as it is measured: a run that is killed leaves every
// row that it finished. What is asserted is counted, so that the program can fail at its end.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace torchclip::gpu_check {

class Row {
 public:
  // stage: the part of the run that the row belongs to.
  explicit Row(const std::string& stage) { text("stage", stage); }

  Row& text(const char* name, const std::string& value) {
    std::ostringstream out;
    out << '"';
    for (const char c : value) {
      if (c == '"' || c == '\\') out << '\\';
      out << (static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
    }
    out << '"';
    return put(name, out.str());
  }
  // A number that JSON has no form for (infinity, NaN) becomes null.
  Row& number(const char* name, double value) {
    std::ostringstream out;
    out.precision(9);
    if (std::isfinite(value)) {
      out << value;
    } else {
      out << "null";
    }
    return put(name, out.str());
  }
  Row& number(const char* name, std::int64_t value) { return put(name, std::to_string(value)); }
  Row& number(const char* name, std::uint64_t value) { return put(name, std::to_string(value)); }
  Row& flag(const char* name, bool value) { return put(name, value ? "true" : "false"); }
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

class Report {
 public:
  // Rows are appended to the file.
  explicit Report(const std::string& path) : path_(path), file_(path, std::ios::app) {}

  // A field that all later rows get.
  void always(const char* name, const std::string& value) { always_.emplace_back(name, value); }

  void add(Row row) {
    for (const auto& [name, value] : always_) row.text(name, value);
    file_ << row.json() << std::endl;  // and flush
    if (!file_) throw std::runtime_error(path_ + " cannot be written");
  }

  // Notes a failure unless `good`; `what` says what was expected.
  void expect(bool good, const std::string& stage, const std::string& what) {
    ++expectations_;
    if (good) return;
    ++failures_;
    std::printf("FAILED: %s\n", what.c_str());
    add(Row(stage).text("failed", what));
  }

  int expectations() const { return expectations_; }
  int failures() const { return failures_; }

 private:
  std::string path_;
  std::ofstream file_;
  std::vector<std::pair<const char*, std::string>> always_;
  int expectations_ = 0, failures_ = 0;
};

}  // namespace torchclip::gpu_check
