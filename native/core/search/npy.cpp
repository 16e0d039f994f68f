#include "search/npy.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/error.h"

namespace torchclip::core {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

// The header: a Python dictionary of three known keys, in any order.
class Header {
 public:
  explicit Header(std::string_view text) : text_(text) {}

  // Null where it is well formed, else what is wrong with it.
  const char* read() {
    if (!take('{')) return "its header is no dictionary";
    while (!take('}')) {
      const auto key = string();
      if (!key || !take(':')) return "its header is no dictionary";
      if (const char* problem = value(*key)) return problem;
      if (!take(',') && peek() != '}') return "its header is no dictionary";
    }
    blanks();
    if (at_ != text_.size()) return "something follows its header";
    return has_type_ && has_order_ && has_shape_ ? nullptr : "its header lacks descr, fortran_order or shape";
  }

  std::int64_t rows = 0, dim = 0;

 private:
  const char* value(std::string_view key) {
    if (key == "descr" && !has_type_) {
      has_type_ = true;
      return string() == "<f4" ? nullptr : "it is no C-ordered matrix of little-endian float32";
    }
    if (key == "fortran_order" && !has_order_) {
      has_order_ = true;
      return word("False") ? nullptr : "it is no C-ordered matrix of little-endian float32";
    }
    if (key == "shape" && !has_shape_) {
      has_shape_ = true;
      return shape() ? nullptr : "its shape is not (rows, dim)";
    }
    return "its header holds something other than descr, fortran_order and shape, or one of them twice";
  }
  bool shape() {
    if (!take('(') || !number(rows) || !take(',') || !number(dim)) return false;
    take(',');
    return take(')');
  }

  void blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  char peek() {
    blanks();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view w) {
    blanks();
    if (text_.substr(at_, w.size()) != w) return false;
    at_ += w.size();
    return true;
  }
  std::optional<std::string_view> string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') return std::nullopt;
    const auto end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) return std::nullopt;
    const auto found = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return found;
  }
  bool number(std::int64_t& to) {
    blanks();
    const auto [stop, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), to);
    if (error != std::errc{} || to < 0) return false;
    at_ = static_cast<std::size_t>(stop - text_.data());
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  bool has_type_ = false, has_order_ = false, has_shape_ = false;
};

}  // namespace

NpyShape read_npy_shape(std::string_view head, std::size_t file_bytes, const std::string& name) {
  const auto fail = [&](const std::string& why) -> Error { return {TORCHCLIP_E_INDEX_CORRUPT, name + ": " + why}; };
  const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(head[i])); };
  if (head.size() < 12 || head.substr(0, kMagic.size()) != kMagic || byte(6) < 1 || byte(6) > 3) {
    throw fail("it is no .npy file");
  }
  const bool old = byte(6) == 1;
  const std::size_t start = old ? 10 : 12;
  const std::size_t length = old ? byte(8) | byte(9) << 8 : byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24;
  if (length > head.size() - start) {
    throw fail(head.size() < file_bytes ? "its header is longer than any .npy's" : "its header is cut off");
  }
  Header header(head.substr(start, length));
  if (const char* problem = header.read()) throw fail(problem);
  if (header.dim < 1 || header.dim > kMostDim || header.rows > kMostRows) {
    throw fail("its shape (" + std::to_string(header.rows) + ", " + std::to_string(header.dim) +
               ") is outside of what an index holds: 2^31 - 1 rows of 1 to 65,536 values");
  }
  const NpyShape shape{header.rows, header.dim, start + length};
  if (shape.offset % sizeof(float) != 0) throw fail("its values are not aligned");
  // 2^31 rows of 2^16 floats are 2^49 bytes: nothing overflows.
  const auto needed = static_cast<std::size_t>(shape.rows) * static_cast<std::size_t>(shape.dim) * sizeof(float);
  if (file_bytes < shape.offset || file_bytes - shape.offset < needed) throw fail("its values are cut off");
  return shape;
}

NpyRows map_npy(const std::string& path) {
  const auto file = std::make_shared<const File>(path, kIndexFile);
  const std::size_t bytes = file->size();
  const auto shape = read_npy_shape(file->read_text(0, std::min(bytes, kMostNpyHeader)), bytes, path);
  const auto values = static_cast<std::size_t>(shape.rows) * static_cast<std::size_t>(shape.dim) * sizeof(float);
  auto mapped = std::make_shared<const MappedFile>(file, shape.offset + values);
  return {mapped, shape.rows, shape.dim, reinterpret_cast<const float*>(mapped->data() + shape.offset)};
}

}  // namespace torchclip::core
