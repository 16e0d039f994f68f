// A JSON reader for the settings inside an artifact. It implements RFC 8259 except numbers beyond the range of double.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace torchclip::core {

class Json {
 public:
  enum class Kind { null, boolean, number, string, array, object };

  // Throws Error(E_MODEL_CORRUPT) with the offset of the error. Nesting deeper than 64 levels is refused.
  static Json parse(std::string_view text);

  Kind kind() const noexcept { return kind_; }
  // Returns a member, or a null value if it is missing or this is not an object.
  const Json& operator[](const std::string& name) const;
  const std::vector<Json>& items() const noexcept { return items_; }
  const std::map<std::string, Json>& members() const noexcept { return members_; }

  // Each returns the value, or `otherwise` if this is of another kind.
  double number(double otherwise = 0) const noexcept { return kind_ == Kind::number ? number_ : otherwise; }
  bool boolean(bool otherwise = false) const noexcept { return kind_ == Kind::boolean ? number_ != 0 : otherwise; }
  std::string text(const std::string& otherwise = "") const { return kind_ == Kind::string ? text_ : otherwise; }

 private:
  friend class JsonReader;
  Kind kind_ = Kind::null;
  double number_ = 0;
  std::string text_;
  std::vector<Json> items_;
  std::map<std::string, Json> members_;
};

}  // namespace torchclip::core
